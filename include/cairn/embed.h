/* Embeddings: a text as one vector. */
#ifndef CAIRN_EMBED_H
#define CAIRN_EMBED_H

#include <cairn/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the hidden states of a text's tokens, behind the output norm, become one vector. MODEL: what the file
   asks for, the mean if it does not say. FIRST: that of BERT's [CLS]. */
enum { CAIRN_POOLING_MODEL = 0, CAIRN_POOLING_MEAN = 1, CAIRN_POOLING_LAST = 2, CAIRN_POOLING_FIRST = 3 };

typedef struct cairn_embed_options {
  size_t size;
  int32_t pooling;     /* CAIRN_POOLING_… */
  uint32_t dimensions; /* the first so many of the vector; 0: all */
  int32_t normalize;   /* (1) not 0: of length 1 */
} cairn_embed_options;
CAIRN_API void cairn_embed_options_init(cairn_embed_options* options, size_t size);

/* The embedding of a text's tokens: *vector has *dimensions numbers and is for cairn_free. options may be
   NULL. Any number of threads may call it at a time; each call takes KV pages as long as it runs. Errors:
   INVALID_ARGUMENT (no tokens, more than the context, one outside the vocabulary, more dimensions than there
   are), UNSUPPORTED (the file asks for another way of pooling), NUMERIC, OUT_OF_MEMORY. */
CAIRN_API cairn_status cairn_embed(cairn_engine* engine, const int32_t* tokens, size_t token_count,
                                   const cairn_embed_options* options, float** vector, size_t* dimensions,
                                   cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
