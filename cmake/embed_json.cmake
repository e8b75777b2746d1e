# cmake -DOUT=openapi_parts.cpp -DFOLDER=openapi -P embed_json.cmake: the description's parts as text in a source file, so
# that the program needs none beside it.
file(GLOB files ${FOLDER}/*.json)
set(source "// Made from openapi/ by cmake/embed_json.cmake.\n#include \"server/openapi.hpp\"\n\nnamespace cairn::server {\n\n")
string(APPEND source "const std::vector<std::string_view>& openapi_parts() {\n  static const std::vector<std::string_view> all = {\n")
foreach(file ${files})
  file(READ ${file} content)
  string(APPEND source "      R\"cairn(${content})cairn\",\n")
endforeach()
string(APPEND source "  };\n  return all;\n}\n\n}  // namespace cairn::server\n")
file(WRITE ${OUT} "${source}")
