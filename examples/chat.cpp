// chat MODEL [SYSTEM]: a conversation, a line of standard input each turn.
#include <cairn/cairn.hpp>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: chat MODEL [SYSTEM]\n";
    return 2;
  }
  const cairn::Model model(argv[1]);
  const cairn::Engine engine(model);
  const cairn::Session session(engine);
  cairn::Chat chat(session, argc > 2 ? argv[2] : "");
  cairn::GenerateOptions options;
  options.max_tokens = 200;
  options.on_token = [](const cairn::TokenEvent& event) {
    std::cout << event.text << std::flush;
    return true;  // false stops
  };
  for (std::string line; std::cout << "> " << std::flush, std::getline(std::cin, line);) {
    chat.send(line, options);
    std::cout << "\n";
  }
  return 0;
} catch (const cairn::Error& error) {
  std::cerr << "chat: " << error.what() << "\n";
  return 1;
}
