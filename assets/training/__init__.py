"""How the demo model is made: data from the profiles' era A, a small decoder, an exporter to GGUF, an evaluator."""
