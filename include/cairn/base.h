/* What every header of cairn's C interface needs: versions, errors, memory that is handed out. */
#ifndef CAIRN_BASE_H
#define CAIRN_BASE_H

#include <stddef.h>
#include <stdint.h>

#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1
#define CAIRN_VERSION_PATCH 0

#define CAIRN_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* What a call came to. All but CAIRN_OK are failures, of which a cairn_error tells more. */
typedef int32_t cairn_status;
enum {
  CAIRN_OK = 0,
  CAIRN_INTERNAL = 1,         /* a mistake in cairn, or in a callback */
  CAIRN_INVALID_ARGUMENT = 2, /* the caller asked for something that cannot be; a closed handle */
  CAIRN_NOT_FOUND = 3,        /* a file, a model, a part of cairn is not there */
  CAIRN_IO = 4,               /* reading or writing failed */
  CAIRN_FORMAT = 5,           /* a file's content contradicts itself or its format */
  CAIRN_UNSUPPORTED = 6,      /* well-formed, but cairn does not know it */
  CAIRN_OUT_OF_MEMORY = 7,
  CAIRN_NETWORK = 8,
  CAIRN_NUMERIC = 9,    /* NaN or infinity where a number was due */
  CAIRN_CANCELLED = 10, /* the caller stopped it */
  CAIRN_BUSY = 11       /* the session is in use, the queue is full; later there may be room */
};

/* Why a call failed: one line of UTF-8 that names the file, the place and the reason. It lies with the
   caller; every function that takes one writes it (code CAIRN_OK and an empty message where nothing
   failed) and takes NULL as well. */
typedef struct cairn_error {
  cairn_status code;
  char message[1020]; /* ends with 0; longer ones are cut between two characters */
} cairn_error;

/* "invalid argument", …; of any number. Never NULL; lives for ever. */
CAIRN_API const char* cairn_status_name(cairn_status status);

/* The library's version as it runs, "0.1.0"; lives for ever. What this header is of is in CAIRN_VERSION_…. */
CAIRN_API const char* cairn_version(void);

/* Gives back a text or an array that a function of this library handed out; NULL is nothing. */
CAIRN_API void cairn_free(void* memory);

/* What the library itself says on standard error. At first: warnings. */
enum { CAIRN_LOG_ERROR = 0, CAIRN_LOG_WARNING = 1, CAIRN_LOG_INFO = 2, CAIRN_LOG_DEBUG = 3 };
CAIRN_API void cairn_set_log_level(int32_t level);

/* What models can run on here, as JSON: {"devices": [{"name": "cpu", "processor", "threads",
   "memory_bytes", "instruction_sets": […], "instruction_set"}, then for each GPU {"name": "cuda:0",
   "processor", "memory_bytes", "free_bytes", "capability", "driver_cuda"}]}, and "no_gpu", the reason, where
   there is none. CAIRN_TARGET in the environment chooses another of the sets before the first model is
   opened. *json is for cairn_free. */
CAIRN_API cairn_status cairn_devices(char** json, cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
