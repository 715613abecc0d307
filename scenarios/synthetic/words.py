"""256 words, one for each value of a byte; with a space in front each is one token to common tokenizers.

Chosen as such from the vocabulary of the demo model, GPT-2, GPT-NeoX, Llama 2 and 3, Qwen 2 and 3.5, DeepSeek, Falcon,
StarCoder, Command R, Phi 3 and Gemma 4: a text of 500 of them is 500 tokens to each of these, 501 to the demo model's.
"""

from __future__ import annotations

_TEXT = """
    ab about account action ad add address ag again age al all am amount an and answer Answer api are as
    assistant at back bag be block bo box but by cache call cam camp can cancel car card cards cart cause cert
    certificate ch char che check cle clean Client co code cost costs custom day days de DEBUG dec decide
    decision del delayed delivery device dis do does due ERROR ex exchange fail fil files fits fol follow for
    fre free from ge gift go goes good has have Have he head health hel help hit host hour how How idle im
    images import in INFO internal is it It IT ke kept key kn known lab label le leaves live lo log login long
    mail me memory Monday mor more morning ms much my Name ne new next NO not note notes nothing now number of
    ok old on one only open or order orders out pa pad paid pay payment ph pol policy pool port Print pro
    product products project qu query rain raise rat ratio re Read reason recommend Record request rest return
    review ro search served sh share shop should show size slow sorry st staff starts status stock su suggest
    sum summer support take takes te tent test th thank Thank Thanks that the The thing this time to took tr ur
    us use user war was we wel welcome wh what What which why will with within wor worker working wr wrong year
    years yet you You your
"""

WORDS = tuple(_TEXT.split())
