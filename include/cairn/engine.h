/* Engines: a model's weights with the threads that compute with them, and the memory that they take. */
#ifndef CAIRN_ENGINE_H
#define CAIRN_ENGINE_H

#include <cairn/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sessions and batches of one engine share its weights and threads; of their steps one waits for the
   other. Any number of threads may use an engine at a time. It keeps its model's file: the model may be
   closed before. */
typedef struct cairn_engine cairn_engine;

enum { CAIRN_PRECISION_STANDARD = 0, CAIRN_PRECISION_F32 = 1 }; /* 8-bit inputs of products; all in float */
enum { CAIRN_KV_F16 = 0, CAIRN_KV_I8 = 1, CAIRN_KV_Q4 = 2 };    /* docs/engine.md says what each costs */
/* Read from the file's pages, or copied to memory of the process, which decode reads faster and which cannot
   be paged out; AUTO copies files of 16 MiB up to half of the free memory (docs/cpu.md). */
enum { CAIRN_WEIGHTS_AUTO = 0, CAIRN_WEIGHTS_MAPPED = 1, CAIRN_WEIGHTS_COPIED = 2 };

/* For cairn_engine_options.memory: as much as the system can spare, all the time. */
#define CAIRN_MEMORY_AUTO UINT64_MAX

typedef struct cairn_engine_options {
  size_t size;
  uint32_t context;          /* most positions of a sequence; 0: what it was trained for, at most 4,096 */
  uint32_t threads;          /* 0: as many as usable processors; at most 1,024 */
  uint32_t chunk;            /* most tokens of a prompt that are computed together (512) */
  int32_t precision;         /* CAIRN_PRECISION_… */
  int32_t repeatable;        /* not 0: answers do not depend on what was read before, to the bit; slower */
  int32_t kv;                /* CAIRN_KV_…: numbers of the KV cache */
  int32_t weights;           /* CAIRN_WEIGHTS_… */
  uint64_t memory;           /* a stack: most bytes of resident memory of this process; 0: no limit;
                                CAIRN_MEMORY_AUTO */
  const cairn_engine* share; /* takes that engine's threads, as a draft should; NULL: has its own */
  const char* device; /* "cpu" (NULL too), "cuda" or "cuda:N", "auto": a GPU where there is one that can, else
                         the CPU. Where a GPU fails the CPU goes on, with a warning */
  uint64_t device_memory; /* most bytes of the GPU's memory; 0: no limit; CAIRN_MEMORY_AUTO: what is free
                             there. A stack grows and shrinks to it */
} cairn_engine_options;
CAIRN_API void cairn_engine_options_init(cairn_engine_options* options, size_t size);

/* Errors: INVALID_ARGUMENT (options out of range), UNSUPPORTED (memory is limited and the model is no
   stack; a GPU that does not run the model or what the options ask for), NOT_FOUND (no such GPU),
   OUT_OF_MEMORY, IO and FORMAT (a stack's base is damaged). */
CAIRN_API cairn_status cairn_engine_open(const cairn_model* model, const cairn_engine_options* options,
                                         cairn_engine** opened, cairn_error* error);
/* Sessions and batches that were opened on it go on. */
CAIRN_API void cairn_engine_close(cairn_engine* engine);

typedef struct cairn_engine_info {
  size_t size;
  uint32_t context, chunk;
  uint32_t threads;       /* that compute, the caller's among them */
  int32_t elastic;        /* whether its memory can be set: it runs a stack */
  uint64_t kv_bytes;      /* of pages in use, each once */
  uint64_t scratch_bytes; /* of what sequences do not have for themselves */
} cairn_engine_info;
CAIRN_API cairn_status cairn_engine_get_info(const cairn_engine* engine, cairn_engine_info* info,
                                             cairn_error* error);

typedef struct cairn_memory {
  size_t size;
  uint64_t budget;           /* of the process; 0: no limit */
  int32_t automatic;         /* the budget follows what the system can spare */
  uint64_t process;          /* resident, everything */
  uint64_t stack, stack_all; /* bytes of blocks in memory; of the whole stack */
  uint64_t read;             /* bytes of blocks, from the file so far */
  double bits;               /* a weight of the stack's matrices, in memory */
  uint64_t device;           /* what a matrix engine holds of the stack for itself */
} cairn_memory;
/* Of a model that is no stack, `process` and nothing else. */
CAIRN_API cairn_status cairn_engine_get_memory(const cairn_engine* engine, cairn_memory* memory,
                                               cairn_error* error);
/* Lets a stack's weights grow or shrink so that the process keeps within `bytes` (0: no limit;
   CAIRN_MEMORY_AUTO), all its engines together. At any time, in the middle of an answer too. Errors:
   UNSUPPORTED (the model is no stack), OUT_OF_MEMORY (less than what cannot be given back; nothing
   changes then). */
CAIRN_API cairn_status cairn_engine_set_memory(cairn_engine* engine, uint64_t bytes, cairn_error* error);
/* A line for each of a stack's blocks that is left out, and why: *lines is for cairn_free, "" where all is
   well. */
CAIRN_API cairn_status cairn_engine_problems(const cairn_engine* engine, char** lines, cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
