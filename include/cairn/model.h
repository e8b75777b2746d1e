/* Model files: what is in them, text to tokens and back, chat templates. */
#ifndef CAIRN_MODEL_H
#define CAIRN_MODEL_H

#include <cairn/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open model file. Any number of threads may use it at a time. */
typedef struct cairn_model cairn_model;

typedef struct cairn_model_options {
  size_t size;               /* of this struct, as all options have it: cairn.h tells more */
  const char* chat_template; /* Jinja source to use in place of the file's; NULL: the file's */
} cairn_model_options;
CAIRN_API void cairn_model_options_init(cairn_model_options* options, size_t size);

/* Opens a model: a file's path, or the name of a model that `cairn pull` has fetched. The file is mapped
   and checked; weights are read when an engine touches them. options may be NULL. Errors: NOT_FOUND, IO,
   FORMAT, UNSUPPORTED. */
CAIRN_API cairn_status cairn_model_open(const char* model, const cairn_model_options* options,
                                        cairn_model** opened, cairn_error* error);
CAIRN_API void cairn_model_close(cairn_model* model);

typedef struct cairn_model_info {
  size_t size;              /* set by the caller: sizeof(cairn_model_info) */
  const char* path;         /* the texts live as long as the model is open */
  const char* name;         /* "" where the file does not say */
  const char* architecture; /* "llama", … */
  uint64_t file_bytes;
  uint64_t weights; /* numbers in all tensors; of a stack, in its matrices and tensors */
  uint32_t context; /* positions that it was trained for */
  uint32_t layers;
  uint32_t embedding;  /* floats of a hidden state */
  uint32_t vocabulary; /* tokens */
  int32_t bos, eos;    /* tokens; −1: it has none */
  int32_t has_chat_template;
  int32_t is_stack;
} cairn_model_info;
CAIRN_API cairn_status cairn_model_get_info(const cairn_model* model, cairn_model_info* info,
                                            cairn_error* error);

/* The file's metadata and tensors as JSON, as `cairn inspect --json` prints them. *json is for cairn_free. */
CAIRN_API cairn_status cairn_model_describe(const cairn_model* model, char** json, cairn_error* error);

enum {
  CAIRN_ADD_BOS = 1,       /* where the model's metadata asks for it */
  CAIRN_ADD_EOS = 2,       /* the same */
  CAIRN_PARSE_SPECIAL = 4, /* "<|im_start|>" in the text becomes its control token */
  CAIRN_SHOW_SPECIAL = 8   /* for cairn_detokenize: control tokens give their text, not nothing */
};

/* A length that means: the text ends with a 0. */
#define CAIRN_TERMINATED ((size_t)-1)

/* The tokens of a text, which may hold bytes of 0; what is no UTF-8 counts as U+FFFD. flags:
   of the above. *tokens is for cairn_free; NULL where there is none. */
CAIRN_API cairn_status cairn_tokenize(const cairn_model* model, const char* text, size_t text_size,
                                      uint32_t flags, int32_t** tokens, size_t* token_count,
                                      cairn_error* error);

/* The text of tokens, *text_size bytes and a 0. The bytes are as the tokens have them: they may begin or
   end within a character. *text is for cairn_free. Error INVALID_ARGUMENT: a token outside the vocabulary. */
CAIRN_API cairn_status cairn_detokenize(const cairn_model* model, const int32_t* tokens, size_t token_count,
                                        uint32_t flags, char** text, size_t* text_size, cairn_error* error);

/* Whether a token ends answers: EOS, <|im_end|>, …; 0 also where there is no such model or token. */
CAIRN_API int32_t cairn_token_is_end(const cairn_model* model, int32_t token);

/* One turn of a conversation. */
typedef struct cairn_message {
  const char* role; /* "system", "user", "assistant", "tool", … */
  const char* content;
} cairn_message;

/* Messages as the JSON that other functions take: [{"role", "content"}, …]. Bytes that are no UTF-8 become
   U+FFFD. *json is for cairn_free. */
CAIRN_API cairn_status cairn_messages_json(const cairn_message* messages, size_t message_count, char** json,
                                           cairn_error* error);

typedef struct cairn_template_options {
  size_t size;
  const char*
      variables;    /* a JSON object of more for the template: "tools", "enable_thinking", …; NULL: none */
  int32_t sanitize; /* not 0: control tokens that users and tools wrote stay plain text */
  /* Functions that the answer may call: a JSON array as OpenAI's API has it, [{"type": "function",
     "function":
     {"name", "description", "parameters"}}, …]. Told as the template tells of tools; where it knows none, in
     the system message. NULL: none. (In `variables` they go to the template as they are.) */
  const char* tools;
} cairn_template_options;
CAIRN_API void cairn_template_options_init(cairn_template_options* options, size_t size);

/* A conversation as the model's chat template writes it, up to where the assistant's next turn
   begins: *text_size bytes and a 0, or its tokens. messages: a JSON array of {"role", "content", …};
   calls of earlier turns ("tool_calls", and their results by the role "tool") become what the template
   takes. What is handed out is for cairn_free. Errors: FORMAT (no JSON, no messages), NOT_FOUND (the model
   has no template), INVALID_ARGUMENT (the template refuses the conversation; tools or calls that cannot be
   read: their place is named), UNSUPPORTED (what cairn's Jinja does not know). */
CAIRN_API cairn_status cairn_template_render(const cairn_model* model, const char* messages,
                                             const cairn_template_options* options, char** text,
                                             size_t* text_size, cairn_error* error);
CAIRN_API cairn_status cairn_template_tokenize(const cairn_model* model, const char* messages,
                                               const cairn_template_options* options, int32_t** tokens,
                                               size_t* token_count, cairn_error* error);

/* What the beginning of a stack's file is (cairn stack makes them; docs/stack.md). */
typedef struct cairn_stack_info {
  size_t size;
  uint64_t weights;       /* in the matrices that are stored as blocks */
  uint64_t base_bytes;    /* the shortest beginning of the file that is a model */
  uint64_t file_bytes;    /* when all of it is there */
  uint64_t present_bytes; /* what is there now */
  uint64_t blocks, base_blocks;
  double bits;      /* a weight of the matrices, with all that is there */
  double base_bits; /* the same of the base alone */
} cairn_stack_info;
/* Error INVALID_ARGUMENT: the model is no stack. */
CAIRN_API cairn_status cairn_stack_get_info(const cairn_model* model, cairn_stack_info* info,
                                            cairn_error* error);

#ifdef __cplusplus
}
#endif

#endif
