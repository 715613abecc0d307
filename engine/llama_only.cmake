# Included by llama-cpp-python's CMake project right after its project() call.
# Its CMakeLists forces LLAMA_BUILD_COMMON on in the cache; a normal variable shadows the cache entry,
# so that only libllama and libggml are compiled: the server, the tools and libllama-common are not used here.
set(LLAMA_BUILD_COMMON OFF)
