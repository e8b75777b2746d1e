/* Sessions: tokens in, tokens out, one text at a time; chats over them. */
#ifndef CAIRN_SESSION_H
#define CAIRN_SESSION_H

#include <cairn/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How likely a token was to the model itself: the natural logarithm of its probability, before biases,
   penalties, temperature and what the answer is held to. */
typedef struct cairn_token_logprob {
  int32_t token;
  float logprob;
} cairn_token_logprob;

/* What an answer with tools consists of. */
enum {
  CAIRN_PIECE_TEXT = 0,
  CAIRN_PIECE_REASONING = 1, /* what the model thinks before it answers */
  CAIRN_PIECE_CALL = 2,      /* the name of a function that is called; the arguments follow */
  CAIRN_PIECE_ARGUMENTS = 3  /* some of them; together they are a JSON object, unless the answer is cut */
};
typedef struct cairn_piece {
  int32_t kind;     /* CAIRN_PIECE_… */
  const char* text; /* text_size bytes and a 0 */
  size_t text_size;
  const char* id; /* of a call; "" otherwise */
} cairn_piece;

/* One step of an answer. A later version may append to it. text: whole UTF-8 characters, text_size bytes
   and a 0, which live as long as the call; "" while they are held back (an incomplete character, what may
   begin a stop string). When an answer ends with text held back, a last event has that text and token −1. */
typedef struct cairn_token_event {
  size_t size;
  int32_t token;
  const char* text;
  size_t text_size;
  /* Where cairn_generate_options.logprobs asks for it; 0 and NULL otherwise, and of token −1. */
  float logprob;
  const cairn_token_logprob* top; /* the likeliest tokens, the likeliest first; as long as the call */
  size_t top_count;
  /* Where cairn_generate_options.tools has some; as long as the call. `text` is that of the pieces of text
     alone then. The last event may have pieces and the token −1. */
  const cairn_piece* pieces;
  size_t piece_count;
} cairn_token_event;

/* A token of a prompt, as cairn_token_event has those of answers. */
typedef struct cairn_prompt_token {
  int32_t token;
  float logprob;
  const cairn_token_logprob* top;
  size_t top_count;
} cairn_prompt_token;

/* Callbacks get the `user` of the options, on the thread of the call (of a batch: on the batch's own
   thread), and must return; an exception or a jump out of one is not allowed. They may call this library,
   but not the session that called them: it answers BUSY. */
typedef int (*cairn_token_callback)(void* user, const cairn_token_event* event);    /* not 0: stop here */
typedef int (*cairn_cancel_callback)(void* user);                                   /* not 0: stop */
typedef void (*cairn_progress_callback)(void* user, uint32_t done, uint32_t total); /* tokens of the prompt */

/* Those of a prompt's tokens from position `first` on that were read by now; they live as long as the call.
   The first token of a prompt has none. A batch that lacks memory may begin anew: at position 1 again. */
typedef void (*cairn_prompt_callback)(void* user, uint32_t first, const cairn_prompt_token* tokens,
                                      size_t count);

typedef struct cairn_logit_bias {
  int32_t token;
  float bias; /* −10⁶ … 10⁶, added to the logit; −INFINITY bans the token */
} cairn_logit_bias;

/* Where guesses of the next tokens come from: the same answer sooner (docs/session.md). DRAFT needs
   cairn_session_set_draft, SELF a stack. */
enum {
  CAIRN_SPECULATE_NONE = 0,
  CAIRN_SPECULATE_LOOKUP = 1,
  CAIRN_SPECULATE_DRAFT = 2,
  CAIRN_SPECULATE_SELF = 3,
  CAIRN_SPECULATE_AUTO = 4
};

typedef struct cairn_generate_options {
  size_t size;
  uint32_t max_tokens;     /* UINT32_MAX (usual): until the context is full; 0: reads the prompt only */
  int32_t ignore_end;      /* not 0: end-of-generation tokens are ordinary ones */
  const char* const* stop; /* texts that end the answer and are not part of it */
  size_t stop_count;
  float temperature;                         /* (0.8) 0 takes the most likely token */
  uint32_t top_k;                            /* (40) 0: all */
  float top_p, min_p;                        /* (0.95, 0.05) 1 and 0: all */
  float repetition_penalty;                  /* (1) */
  float frequency_penalty, presence_penalty; /* (0) */
  uint32_t penalty_window;                   /* (64) the last tokens that penalties look at; 0: all */
  const cairn_logit_bias* biases;
  size_t bias_count;
  int32_t seeded; /* not 0: `seed` counts; otherwise the system gives one */
  uint64_t seed;
  int32_t speculation;                 /* CAIRN_SPECULATE_… */
  cairn_token_callback on_token;       /* each may be NULL */
  cairn_progress_callback on_progress; /* after each piece of the prompt */
  cairn_cancel_callback
      is_cancelled; /* asked before each piece and token, and between the layers of a piece */
  void* user;       /* for all of them */
  /* What the answer must match as a whole, at every temperature; at most one of them, NULL: anything
     (docs/grammar.md says what is taken). It is cut short by max_tokens, a stop string or a full context
     alone. Not with ignore_end. The last ones that a model was asked for are kept compiled. */
  const char* json_schema;
  const char* regex;
  const char* grammar;   /* GBNF, of which the answer is `root` */
  int32_t logprobs;      /* not 0: each token comes with its logprob */
  uint32_t top_logprobs; /* … and with those of so many of the likeliest tokens */
  /* Functions that the answer may call, as cairn_template_options.tools has them, and is to have them for the
     prompt; a chat tells its model itself. NULL: none. The calls are told from the text as the model's own
     template writes them (docs/grammar.md), and come as pieces of events and in the result. A form is that
     of the answers that are no calls. Errors of the answer: as cairn_template_render's. */
  const char* tools;
  /* "auto" or NULL; "none"; "required": the answer is a call whose arguments meet the function's schema; or
     the same of one function: {"type": "function", "function": {"name": …}}. */
  const char* tool_choice;
  int32_t one_call; /* not 0: one call at most where calls are required */
  /* With logprobs: called with those of the prompt, which is read from its beginning then. */
  cairn_prompt_callback on_prompt;
} cairn_generate_options;
CAIRN_API void cairn_generate_options_init(cairn_generate_options* options, size_t size);

/* Why an answer ended. */
enum {
  CAIRN_FINISH_STOP = 0,     /* an end-of-generation token or a stop string */
  CAIRN_FINISH_LENGTH = 1,   /* max_tokens, or the context is full */
  CAIRN_FINISH_CANCELLED = 2 /* a callback, or a cancel function */
};

typedef struct cairn_tool_call {
  const char *id, *name;
  const char* arguments; /* JSON as the model wrote it: an object, unless the answer was cut */
} cairn_tool_call;

/* An answer. Set size = sizeof(cairn_result) before the call; the rest is written. Give it back with
   cairn_result_clear. After a failure it is empty. */
typedef struct cairn_result {
  size_t size;
  char* text; /* all events' texts, text_size bytes and a 0 */
  size_t text_size;
  int32_t* tokens; /* without the end-of-generation token */
  size_t token_count;
  char* stop; /* the stop string that matched; NULL: none */
  int32_t finish;
  uint32_t prompt_tokens, cached_tokens; /* of the prompt; of those, read before */
  uint32_t prefill_tokens;               /* of the prompt, read in this call */
  uint32_t decode_tokens, decode_steps;  /* tokens after the first one, and the steps that they took */
  uint32_t guessed_tokens, accepted_tokens;
  double prefill_seconds, decode_seconds;
  double first_token_seconds; /* from the call to the first token; 0 if there was none */
  /* Where cairn_generate_options.tools has some: the answer as a message of the conversation, JSON:
     {"role": "assistant", "content", "reasoning_content", "tool_calls"}, and its calls. NULL otherwise. */
  char* message;
  cairn_tool_call* calls;
  size_t call_count;
} cairn_result;
CAIRN_API void cairn_result_clear(cairn_result* result);

/* A text with one engine. It remembers what it has read, and reads only what a new prompt does not share
   with that. One call at a time: a second one, from whatever thread, answers BUSY. */
typedef struct cairn_session cairn_session;

CAIRN_API cairn_status cairn_session_open(cairn_engine* engine, cairn_session** opened, cairn_error* error);
/* A call that runs ends as it would. */
CAIRN_API void cairn_session_close(cairn_session* session);

/* Continues the prompt; no tokens stand for the model's BOS. options and result may be NULL. Errors:
   INVALID_ARGUMENT (options out of range, a prompt longer than the context, a token outside the
   vocabulary, guesses that cannot be made; a schema, an expression or a grammar that cannot be read or
   enforced, whose place is named, or that comes to where no token may follow), UNSUPPORTED (such a one, and
   libcairn_grammar.so is not there or is of another build, or what may follow takes too long to find),
   NUMERIC (the model computed no number), OUT_OF_MEMORY, BUSY.
   The session remains usable. An answer that was stopped is none: see result->finish. */
CAIRN_API cairn_status cairn_session_generate(cairn_session* session, const int32_t* prompt,
                                              size_t prompt_count, const cairn_generate_options* options,
                                              cairn_result* result, cairn_error* error);
/* Ends the call that runs, from any thread: within a token, in a prompt between two layers. Nothing where
   none does. */
CAIRN_API void cairn_session_cancel(cairn_session* session);
/* Forgets what was read. Error BUSY. */
CAIRN_API cairn_status cairn_session_clear(cairn_session* session, cairn_error* error);
/* Tokens that it has read and would not read again. Error BUSY. */
CAIRN_API cairn_status cairn_session_cached(const cairn_session* session, size_t* token_count,
                                            cairn_error* error);
/* A smaller model of the same vocabulary that guesses, for CAIRN_SPECULATE_DRAFT and AUTO; best opened
   with cairn_engine_options.share. Errors: INVALID_ARGUMENT (the vocabularies differ: names where), BUSY. */
CAIRN_API cairn_status cairn_session_set_draft(cairn_session* session, cairn_engine* draft,
                                               cairn_error* error);

/* A conversation over a session. Its turns share what the session has read. One call at a time, as the
   session. */
typedef struct cairn_chat cairn_chat;

typedef struct cairn_chat_options {
  size_t size;
  const char* system; /* a system message; NULL: none */
  int32_t sanitize;   /* as cairn_template_options has it */
} cairn_chat_options;
CAIRN_API void cairn_chat_options_init(cairn_chat_options* options, size_t size);

/* options may be NULL. It keeps the session, which may be closed before. Errors: NOT_FOUND (the model has
   no chat template), UNSUPPORTED and FORMAT (what is wrong with it). */
CAIRN_API cairn_status cairn_chat_open(cairn_session* session, const cairn_chat_options* options,
                                       cairn_chat** opened, cairn_error* error);
CAIRN_API void cairn_chat_close(cairn_chat* chat);
/* Adds the user's turn, generates the assistant's and adds it, cut short or not. After an error, or when
   it was stopped before any text came, the chat is as it was. Errors: as cairn_session_generate and
   cairn_template_render. */
CAIRN_API cairn_status cairn_chat_send(cairn_chat* chat, const char* user,
                                       const cairn_generate_options* options, cairn_result* result,
                                       cairn_error* error);
/* The same with messages in place of the user's turn: a JSON array, of the results of tools (role "tool")
   for instance. Error FORMAT: no messages. */
CAIRN_API cairn_status cairn_chat_send_messages(cairn_chat* chat, const char* messages,
                                                const cairn_generate_options* options, cairn_result* result,
                                                cairn_error* error);
/* Another answer to the last turn of the user, or of tools. Error INVALID_ARGUMENT: there is none. */
CAIRN_API cairn_status cairn_chat_regenerate(cairn_chat* chat, const cairn_generate_options* options,
                                             cairn_result* result, cairn_error* error);
/* The conversation with what the model has read, as JSON: an object with "messages"; and taking such a one
   up again, in another process too. An array of messages is taken as well. *json is for cairn_free.
   Errors: FORMAT, BUSY. */
CAIRN_API cairn_status cairn_chat_save(const cairn_chat* chat, char** json, cairn_error* error);
CAIRN_API cairn_status cairn_chat_restore(cairn_chat* chat, const char* json, cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
