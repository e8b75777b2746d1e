/* Batches: many requests on one engine at a time, which share each reading of its weights
   (docs/scheduler.md). */
#ifndef CAIRN_BATCH_H
#define CAIRN_BATCH_H

#include <cairn/session.h>

#ifdef __cplusplus
extern "C" {
#endif

/* It has a thread of its own, which runs all steps and callbacks. Any number of threads may use it at a
   time. */
typedef struct cairn_batch cairn_batch;
/* A request that was taken. Any thread may cancel it or ask for it; one waits for it. */
typedef struct cairn_request cairn_request;

typedef struct cairn_batch_options {
  size_t size;
  uint32_t sequences;  /* (8) most requests that are answered at a time */
  uint32_t queue;      /* (256) most that wait behind them */
  uint32_t beside;     /* (128) most tokens of prompts in a step that others take tokens from */
  uint64_t kv_bytes;   /* most bytes of KV pages, kept beginnings among them; 0: as many as the engine has */
  uint64_t kept_bytes; /* (256 MiB) of beginnings of prompts that are kept for later requests; 0: none */
  const cairn_engine* draft; /* a smaller model of the same vocabulary, for CAIRN_SPECULATE_DRAFT and AUTO */
} cairn_batch_options;
CAIRN_API void cairn_batch_options_init(cairn_batch_options* options, size_t size);

/* options may be NULL. Errors: INVALID_ARGUMENT (options out of range, another vocabulary). */
CAIRN_API cairn_status cairn_batch_open(cairn_engine* engine, const cairn_batch_options* options,
                                        cairn_batch** opened, cairn_error* error);
/* Cancels all requests, which can still be waited for, and waits for the callback that runs, unless it is
   that one which closes. */
CAIRN_API void cairn_batch_close(cairn_batch* batch);

/* Called by the batch's thread when cairn_request_wait would wait no more. */
typedef void (*cairn_finished_callback)(void* user);

/* Asks for an answer to the prompt. What options points to is copied; its `user` must live until
   `finished` or cairn_request_wait tells of the end. Of several, the ones of greater priority are begun
   first. finished may be NULL. Errors: BUSY (the queue is full), INVALID_ARGUMENT and
   UNSUPPORTED as cairn_session_generate. */
CAIRN_API cairn_status cairn_batch_submit(cairn_batch* batch, const int32_t* prompt, size_t prompt_count,
                                          const cairn_generate_options* options, int32_t priority,
                                          cairn_finished_callback finished, cairn_request** request,
                                          cairn_error* error);
/* The answer ends as cancelled with what there is of it. */
CAIRN_API void cairn_request_cancel(cairn_request* request);
/* Whether cairn_request_wait would not wait; 1 also where there is no such request. */
CAIRN_API int32_t cairn_request_ready(const cairn_request* request);
/* Waits for the answer, once; result may be NULL. Errors: as cairn_session_generate; INVALID_ARGUMENT (a
   second time; in a callback of the same batch, which would wait for itself). */
CAIRN_API cairn_status cairn_request_wait(cairn_request* request, cairn_result* result, cairn_error* error);
/* Cancels what is not answered yet. */
CAIRN_API void cairn_request_close(cairn_request* request);

typedef struct cairn_batch_status {
  size_t size;
  uint32_t waiting, running;             /* requests */
  uint64_t tokens;                       /* generated so far */
  uint64_t guessed, accepted;            /* of guesses */
  uint64_t prompt_tokens, cached_tokens; /* of requests that were begun; of those, not read again */
} cairn_batch_status;
CAIRN_API cairn_status cairn_batch_get_status(const cairn_batch* batch, cairn_batch_status* status,
                                              cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
