/* frames VIDEO > FILE.yuv: the restored frames, planar, 8 or 16 bits a sample; what they are on standard
 * error. */
#include <cairn/cairn.h>
#include <stdio.h>

static void write_plane(const uint16_t* samples, size_t count, uint32_t bits) {
  size_t i;
  if (bits > 8) {
    fwrite(samples, sizeof *samples, count, stdout);
    return;
  }
  for (i = 0; i < count; ++i) putchar(samples[i]);
}

int main(int argc, char** argv) {
  cairn_error error;
  cairn_video* video = NULL;
  cairn_video_info info = {sizeof info};
  cairn_video_frame frame = {sizeof frame};
  unsigned long frames = 0;

  if (argc != 2) {
    fprintf(stderr, "usage: frames VIDEO > FILE.yuv\n");
    return 2;
  }
  if (cairn_video_open(argv[1], NULL, &video, &error) == CAIRN_OK &&
      cairn_video_get_info(video, &info, &error) == CAIRN_OK) {
    while (cairn_video_next(video, &frame, &error) == CAIRN_OK && frame.plane_count > 0) {
      uint32_t plane;
      for (plane = 0; plane < frame.plane_count; ++plane)
        write_plane(frame.planes[plane], (size_t)frame.width[plane] * frame.height[plane], info.bits);
      ++frames;
    }
  }
  cairn_video_close(video);
  if (error.code != CAIRN_OK) {
    fprintf(stderr, "frames: %s\n", error.message);
    return 1;
  }
  fprintf(stderr, "%lu frames of %ux%u, sent as %ux%u\n", frames, info.width, info.height, info.small_width,
          info.small_height);
  return 0;
}
