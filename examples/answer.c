/* answer MODEL PROMPT [TOKENS]: what the model continues the prompt with, streamed; its speed on standard
 * error. */
#include <cairn/cairn.h>
#include <stdio.h>
#include <stdlib.h>

static int show(void* user, const cairn_token_event* event) {
  (void)user;
  fwrite(event->text, 1, event->text_size, stdout);
  fflush(stdout);
  return 0;
}

int main(int argc, char** argv) {
  cairn_error error;
  cairn_model* model = NULL;
  cairn_engine* engine = NULL;
  cairn_session* session = NULL;
  int32_t* tokens = NULL;
  size_t count = 0;
  cairn_generate_options options;
  cairn_result result = {sizeof result};

  if (argc < 3) {
    fprintf(stderr, "usage: answer MODEL PROMPT [TOKENS]\n");
    return 2;
  }
  cairn_generate_options_init(&options, sizeof options);
  options.max_tokens = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 64;
  options.temperature = 0;
  options.on_token = show;

  if (cairn_model_open(argv[1], NULL, &model, &error) != CAIRN_OK ||
      cairn_engine_open(model, NULL, &engine, &error) != CAIRN_OK ||
      cairn_session_open(engine, &session, &error) != CAIRN_OK ||
      cairn_tokenize(model, argv[2], CAIRN_TERMINATED, CAIRN_ADD_BOS | CAIRN_PARSE_SPECIAL, &tokens, &count,
                     &error) != CAIRN_OK ||
      cairn_session_generate(session, tokens, count, &options, &result, &error) != CAIRN_OK) {
    fprintf(stderr, "answer: %s\n", error.message);
  } else {
    printf("\n");
    fprintf(stderr, "%u tokens read, %u written\n", result.prompt_tokens, (unsigned)result.token_count);
  }

  cairn_result_clear(&result);
  cairn_free(tokens);
  cairn_session_close(session);
  cairn_engine_close(engine);
  cairn_model_close(model);
  return error.code == CAIRN_OK ? 0 : 1;
}
