// many MODEL PROMPT…: each prompt's continuation, all of them made at a time.
#include <cairn/cairn.hpp>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::cerr << "usage: many MODEL PROMPT…\n";
    return 2;
  }
  const cairn::Model model(argv[1]);
  const cairn::Engine engine(model);
  cairn::Batch batch(engine);
  cairn::GenerateOptions options;
  options.max_tokens = 16;
  options.temperature = 0;
  std::vector<cairn::Request> requests;
  for (int i = 2; i < argc; ++i) requests.push_back(batch.submit(model.tokenize(argv[i]), options));
  for (cairn::Request& request : requests) std::cout << request.wait().text << "\n";
  return 0;
} catch (const cairn::Error& error) {
  std::cerr << "many: " << error.what() << "\n";
  return 1;
}
