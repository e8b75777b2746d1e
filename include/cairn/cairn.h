/* cairn's C interface: language models, and restored video, in a program of one's own. docs/library.md
   shows how.

   Handles. What a function opens is closed by the …_close of its kind, in any order and by any thread;
   NULL and what is closed already are nothing to it. What a handle needs (an engine its model) it keeps. A
   call with a handle that is closed, or of another kind, fails with CAIRN_INVALID_ARGUMENT; handles are
   never used twice.

   Errors. Functions that may fail return a cairn_status and take a cairn_error* or NULL. What they hand
   out is NULL, 0 or empty then. No exception leaves the library, and none may leave a callback.

   Options. A struct of options begins with its size. Its …_init writes what is usual; call it with sizeof
   of the struct:
       cairn_engine_options options;
       cairn_engine_options_init(&options, sizeof options);
   Programs that were compiled with an older or newer cairn go on working: what is not there is usual. A
   newer struct whose additional fields are not 0 is refused (CAIRN_UNSUPPORTED). Structs that are written
   to (…_info, cairn_result) begin with their size as well, which the caller sets.

   Threads. Any function may be called from any thread. Where one call at a time is allowed, the second one
   fails with CAIRN_BUSY. The library starts threads and handles no signal but SIGBUS, on a mapped model
   file that shrinks.

   Texts are UTF-8 and end with 0. What the library hands out through a pointer to a pointer is for
   cairn_free. */
#ifndef CAIRN_H
#define CAIRN_H

#include <cairn/base.h>
#include <cairn/batch.h>
#include <cairn/embed.h>
#include <cairn/engine.h>
#include <cairn/model.h>
#include <cairn/session.h>
#include <cairn/video.h>

#endif
