#!/usr/bin/env bash
# Makes docs/video_frame.jpg of the README: one frame's middle, scaled up by the bicubic alone | by cairn | the original.
#   tools/make_video_frame.sh CAIRN flower_cc0_960x540p30_150f.mp4
set -euo pipefail
cairn=$1 clip=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$cairn" video encode "$clip" -o "$folder/small.mkv" --mode x3 --crf 22 --network C16M4 --train-steps 1500 --scenes 0
part='select=eq(n\,75),crop=280:240:330:130,scale=560:480:flags=neighbor'
"$cairn" video decode "$folder/small.mkv" -o - --frames 76 | ffmpeg -v error -i - -vf "$part" -frames:v 1 "$folder/cairn.png"
ffmpeg -v error -i "$folder/small.mkv" -vf "scale=960:540:flags=bicubic,$part" -frames:v 1 "$folder/bicubic.png"
ffmpeg -v error -i "$clip" -vf "$part" -frames:v 1 "$folder/original.png"
ffmpeg -v error -i "$folder/bicubic.png" -i "$folder/cairn.png" -i "$folder/original.png" -filter_complex \
  '[0]pad=568:480:0:0:white[a];[1]pad=568:480:0:0:white[b];[a][b][2]hstack=3' -q:v 3 -y docs/video_frame.jpg
