/* Videos that `cairn video encode` made, restored frame by frame: decoded here, or by the caller. */
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

/* The networks of a cairn video, for programs that decode and show video themselves: small frames in,
   restored ones out. One call at a time: a second one answers BUSY; several restorers run side by side. */
typedef struct cairn_restorer cairn_restorer;

typedef struct cairn_restorer_options {
  size_t size;
  uint32_t threads; /* 0: as many as usable processors */
  uint32_t bits;    /* of a small frame's sample: 8 or 10; 0: as the file says */
  int32_t chroma;   /* CAIRN_CHROMA_… of small frames; -1: as the file says */
} cairn_restorer_options;
CAIRN_API void cairn_restorer_options_init(cairn_restorer_options* options, size_t size);

/* path: of a video that `cairn video encode` made; options may be NULL. Errors: those of cairn_video_open;
   INVALID_ARGUMENT (it has no networks). */
CAIRN_API cairn_status cairn_restorer_open(const char* path, const cairn_restorer_options* options,
                                           cairn_restorer** opened, cairn_error* error);
/* The same from the bytes of the file's attachment cairn.bin (application/x-cairn-video; docs/video.md),
   which are not needed afterwards. They do not tell bits and chroma: options do. */
CAIRN_API cairn_status cairn_restorer_open_bytes(const void* bytes, size_t byte_count,
                                                 const cairn_restorer_options* options,
                                                 cairn_restorer** opened, cairn_error* error);
CAIRN_API void cairn_restorer_close(cairn_restorer* restorer);

typedef struct cairn_restorer_info {
  size_t size;
  uint32_t small_width, small_height; /* of the frames that it takes */
  uint32_t width, height;             /* of those that it gives */
  uint32_t scale;                     /* 1 … 4; what is beyond width and height is cut off */
  uint32_t bits;                      /* of both */
  int32_t chroma;                     /* of both */
  uint32_t networks;                  /* for luma */
  int32_t needs_before, needs_after;  /* 1: a network looks at the small frame before, after */
} cairn_restorer_info;
CAIRN_API cairn_status cairn_restorer_get_info(const cairn_restorer* restorer, cairn_restorer_info* info,
                                               cairn_error* error);

/* A picture in the caller's memory: Y, U and V (Y alone where chroma is NONE) in planes of their own. A
   sample is a byte, of 10 bits a uint16_t. Chroma's planes have half the width and height, rounded up, as
   chroma says. */
typedef struct cairn_image {
  size_t size;            /* set by the caller */
  uint32_t width, height; /* of luma */
  void* planes[3];
  size_t strides[3]; /* bytes from one row to the next */
  size_t bytes[3];   /* at planes[i]: it is checked that they suffice */
} cairn_image;

/* Frame number `frame` of the video, from 0 on in the order in which they are shown: it says which networks
   restore which patches. before, after: its neighbours; NULL at the ends of the video, and where they are not
   needed. restored may lie where small does. Errors: INVALID_ARGUMENT (an image of another size, or without
   room), BUSY. */
CAIRN_API cairn_status cairn_restorer_restore(cairn_restorer* restorer, uint64_t frame,
                                              const cairn_image* before, const cairn_image* small,
                                              const cairn_image* after, const cairn_image* restored,
                                              cairn_error* error);
/* The number of the luma network that restores the small frame's sample at (x, y). */
CAIRN_API cairn_status cairn_restorer_network_at(const cairn_restorer* restorer, uint64_t frame, uint32_t x,
                                                 uint32_t y, uint32_t* network, cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
