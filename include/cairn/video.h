/* Videos that `cairn video encode` made, restored frame by frame. */
#ifndef CAIRN_VIDEO_H
#define CAIRN_VIDEO_H

#include <cairn/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open video; of one that is not cairn's, frames come as they were decoded. One call at a time: a
   second one answers BUSY. It is libcairn_video.so that does this, from the folder of libcairn.so, cairn/
   in it or lib/cairn beside it, or from the folder that CAIRN_LIB names. */
typedef struct cairn_video cairn_video;

typedef struct cairn_video_options {
  size_t size;
  uint32_t threads;   /* of the networks and of the decoder; 0: as many as usable processors */
  int32_t keep_going; /* not 0: what is broken is passed over; otherwise it is an error */
} cairn_video_options;
CAIRN_API void cairn_video_options_init(cairn_video_options* options, size_t size);

/* path: a file's. options may be NULL. Errors: NOT_FOUND (no such file; no libcairn_video.so), IO, FORMAT,
   UNSUPPORTED. */
CAIRN_API cairn_status cairn_video_open(const char* path, const cairn_video_options* options,
                                        cairn_video** opened, cairn_error* error);
CAIRN_API void cairn_video_close(cairn_video* video);

/* How a frame's chroma planes are sampled. */
enum { CAIRN_CHROMA_NONE = 0, CAIRN_CHROMA_420 = 1, CAIRN_CHROMA_422 = 2, CAIRN_CHROMA_444 = 3 };

typedef struct cairn_video_info {
  size_t size;
  uint32_t width, height;              /* of restored frames */
  uint32_t small_width, small_height;  /* of the video that was sent */
  uint32_t bits;                       /* of a sample: 8 or 10 */
  int32_t chroma;                      /* CAIRN_CHROMA_… */
  int32_t restored;                    /* 1: networks restore it; 0: it is not cairn's, or needs none */
  uint64_t frames;                     /* as the file says; 0: it does not */
  double seconds_per_tick;             /* of cairn_video_frame.pts */
  double frame_rate;                   /* a second */
  int32_t matrix, primaries, transfer; /* of colours, code points of ITU-T H.273; 2: not said */
  int32_t range;                       /* 0: not said, 1: limited, 2: full */
} cairn_video_info;
CAIRN_API cairn_status cairn_video_get_info(const cairn_video* video, cairn_video_info* info,
                                            cairn_error* error);

typedef struct cairn_video_frame {
  size_t size;          /* set by the caller */
  uint32_t plane_count; /* 1 (chroma NONE) or 3: Y, U, V; 0: there is no frame left */
  const uint16_t*
      planes[3]; /* [height][width] without gaps, 0 … 2^bits − 1; until the next call for this video */
  uint32_t width[3], height[3];
  int64_t pts;      /* in ticks */
  int64_t duration; /* 0: not known */
} cairn_video_frame;

/* The next frame, in the order in which they are shown, upright. Errors: FORMAT (broken, ends early),
   BUSY. */
CAIRN_API cairn_status cairn_video_next(cairn_video* video, cairn_video_frame* frame, cairn_error* error);
/* The next one is the first again. */
CAIRN_API cairn_status cairn_video_rewind(cairn_video* video, cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
