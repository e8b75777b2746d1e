// A library with the functions of OpenVINO's C API that cairn uses, for tests where OpenVINO is not: it reads
// cairn's IR as a small interpreter would and multiplies by brute force. What it does wrong is asked for in
// the environment: FAKE_OPENVINO_VERSION=…, FAKE_OPENVINO_FAIL=start|compile|memory|export|import|infer,
// FAKE_OPENVINO_HALVES (int8 products lose the weights' last bit), FAKE_OPENVINO_TYPES (other element types).
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

struct ov_version_t {
  const char* buildNumber;
  const char* description;
};
struct ov_available_devices_t {
  char** devices;
  size_t size;
};
struct ov_shape_t {
  int64_t rank;
  int64_t* dims;
};
struct ov_core_t {
  std::map<std::string, std::string> properties;
};
struct ov_tensor_t {
  unsigned type;
  std::vector<int64_t> dims;
  void* memory;
  size_t elements() const {
    size_t count = 1;
    for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
    return count;
  }
  size_t bytes() const { return elements() * (type == 4 ? 4 : 1); }
};
struct ov_model_t {
  std::string xml, constants;
};
using ov_compiled_model_t = ov_model_t;

namespace {

struct Matrix {
  int64_t rows = 1, columns = 1;
  std::vector<float> values;
};

struct Layer {
  std::string type, data;
  std::map<int, int> inputs;  // port → layer
};

std::string last_error;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int failure(const std::string& what) {
  last_error = "Exception from src/fake.cpp:1:\nException from src/plug-in.cpp:2:\n" + what + "\n\n";
  return -1;
}

char* copy_of(const std::string& text) {
  char* copy = new char[text.size() + 1];
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

std::string attribute(const std::string& data, const std::string& name) {
  std::smatch match;
  return std::regex_search(data, match, std::regex(" ?" + name + "=\"([^\"]*)\"")) ? match[1].str() : "";
}

std::vector<int64_t> sizes_in(const std::string& text) {
  std::vector<int64_t> sizes;
  for (size_t at = 0; at < text.size();) {
    size_t used = 0;
    sizes.push_back(std::stoll(text.substr(at), &used));
    at += used + 1;
  }
  return sizes;
}

std::map<int, Layer> layers_of(const std::string& xml) {
  std::map<int, Layer> layers;
  const std::regex layer(
      R"re(<layer id="(\d+)" name="[^"]*" type="(\w+)" version="opset1">(<data ([^/]*)/>)?)re");
  for (std::sregex_iterator it(xml.begin(), xml.end(), layer), end; it != end; ++it) {
    layers[std::stoi((*it)[1])] = {(*it)[2], (*it)[4], {}};
  }
  const std::regex edge(R"re(<edge from-layer="(\d+)" from-port="\d+" to-layer="(\d+)" to-port="(\d+)"/>)re");
  for (std::sregex_iterator it(xml.begin(), xml.end(), edge), end; it != end; ++it) {
    layers[std::stoi((*it)[2])].inputs[std::stoi((*it)[3])] = std::stoi((*it)[1]);
  }
  return layers;
}

Matrix matrix_of(const std::string& type, const std::vector<int64_t>& sizes, const void* memory) {
  Matrix m;
  if (!sizes.empty()) m.columns = sizes.back();
  if (sizes.size() > 1) m.rows = sizes[0];
  m.values.resize(static_cast<size_t>(m.rows * m.columns));
  for (size_t i = 0; i < m.values.size(); ++i) {
    if (type == "i8") {
      m.values[i] = static_cast<const int8_t*>(memory)[i];
    } else {
      std::memcpy(&m.values[i], static_cast<const char*>(memory) + i * sizeof(float), sizeof(float));
    }
  }
  return m;
}

Matrix multiply_transposed(const Matrix& a, const Matrix& b, bool halves) {
  Matrix y{a.rows, b.rows, std::vector<float>(static_cast<size_t>(a.rows * b.rows))};
  for (int64_t t = 0; t < a.rows; ++t) {
    for (int64_t r = 0; r < b.rows; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < a.columns; ++c) {
        const auto w = static_cast<double>(b.values[static_cast<size_t>(r * b.columns + c)]);
        sum += static_cast<double>(a.values[static_cast<size_t>(t * a.columns + c)]) *
               (halves ? 2 * static_cast<double>(static_cast<int>(w) / 2) : w);
      }
      y.values[static_cast<size_t>(t * y.columns + r)] = static_cast<float>(sum);
    }
  }
  return y;
}

Matrix multiply_each(const Matrix& a, const Matrix& b) {  // b: one row, or one column
  Matrix y = a;
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.columns; ++j) {
      y.values[static_cast<size_t>(i * a.columns + j)] *= b.values[static_cast<size_t>(b.rows == 1 ? j : i)];
    }
  }
  return y;
}

}  // namespace

struct ov_infer_request_t {
  const ov_compiled_model_t* model;
  std::map<size_t, ov_tensor_t> inputs, outputs;

  std::string infer() const {  // empty, or what is wrong
    const std::map<int, Layer> layers = layers_of(model->xml);
    const bool halves =
        !variable("FAKE_OPENVINO_HALVES").empty() && model->xml.find("FakeQuantize") != std::string::npos;
    std::map<int, Matrix> done;
    size_t parameters = 0, results = 0;
    for (const auto& numbered : layers) {
      const int id = numbered.first;
      const Layer& layer = numbered.second;
      const auto in = [&](int port) -> const Matrix& { return done.at(layer.inputs.at(port)); };
      if (layer.type == "Parameter") {
        const ov_tensor_t& tensor = inputs.at(parameters++);
        const std::string type = attribute(layer.data, "element_type");
        if (tensor.dims != sizes_in(attribute(layer.data, "shape"))) return "a tensor of another shape";
        if (tensor.type != (type == "i8" ? 7U : 4U)) return "a tensor of another type";
        done[id] = matrix_of(type, tensor.dims, tensor.memory);
      } else if (layer.type == "Const") {
        const size_t offset = std::stoull(attribute(layer.data, "offset"));
        if (offset + std::stoull(attribute(layer.data, "size")) > model->constants.size())
          return "no such constant";
        done[id] = matrix_of(attribute(layer.data, "element_type"), sizes_in(attribute(layer.data, "shape")),
                             model->constants.data() + offset);
      } else if (layer.type == "Convert") {
        done[id] = in(0);
      } else if (layer.type == "FakeQuantize") {
        if (in(1).values[0] != -128 || in(2).values[0] != 127) return "a FakeQuantize that changes values";
        done[id] = in(0);
      } else if (layer.type == "MatMul") {
        done[id] = multiply_transposed(in(0), in(1), halves);
      } else if (layer.type == "Multiply") {
        done[id] = multiply_each(in(0), in(1));
      } else if (layer.type == "Result") {
        const ov_tensor_t& tensor = outputs.at(results++);
        if (tensor.elements() != in(0).values.size()) return "an output of another shape";
        std::memcpy(tensor.memory, in(0).values.data(), tensor.bytes());
      } else {
        return "no such operation: " + layer.type;
      }
    }
    return "";
  }
};

extern "C" {

int ov_get_openvino_version(ov_version_t* version) {
  const std::string asked = variable("FAKE_OPENVINO_VERSION");
  version->buildNumber = copy_of(asked.empty() ? "2026.4.1-1-fake" : asked);
  version->description = copy_of("fake");
  return 0;
}
void ov_version_free(ov_version_t* version) {
  delete[] version->buildNumber;
  delete[] version->description;
}
const char* ov_get_last_err_msg() {
  return copy_of(last_error);
}
void ov_free(const char* text) {
  delete[] text;
}

int ov_core_create(ov_core_t** core) {
  if (variable("FAKE_OPENVINO_FAIL") == "start") return failure("no plug-ins");
  *core = new ov_core_t;
  return 0;
}
void ov_core_free(ov_core_t* core) {
  delete core;
}
int ov_core_get_available_devices(const ov_core_t*, ov_available_devices_t* devices) {
  devices->size = 2;
  devices->devices = new char* [2] { copy_of("CPU"), copy_of("NPU") };
  return 0;
}
void ov_available_devices_free(ov_available_devices_t* devices) {
  for (size_t i = 0; i < devices->size; ++i) delete[] devices->devices[i];
  delete[] devices->devices;
}
int ov_core_get_property(const ov_core_t* core, const char* device, const char* key, char** value) {
  const std::string name = device;
  if (name == "GPU") return failure("libOpenCL.so.1: cannot open shared object file");
  if (std::strcmp(key, "FULL_DEVICE_NAME") == 0) {
    *value = copy_of("Fake " + name);
  } else if (name == "NPU" && std::strcmp(key, "NPU_DRIVER_VERSION") == 0) {
    const std::string driver = variable("FAKE_OPENVINO_DRIVER");
    *value = copy_of(driver.empty() ? "7" : driver);
  } else if (const auto found = core->properties.find(key); found != core->properties.end()) {
    *value = copy_of(found->second);
  } else {
    return failure(std::string("Unsupported configuration key: ") + key);
  }
  return 0;
}
int ov_core_set_property(const ov_core_t*, const char*, ...) {
  return 0;
}
int ov_core_read_model_from_memory_buffer(const ov_core_t*, const char* xml, size_t size,
                                          const ov_tensor_t* constants, ov_model_t** model) {
  *model = new ov_model_t{std::string(xml, size),
                          std::string(static_cast<const char*>(constants->memory), constants->bytes())};
  return 0;
}
int ov_core_compile_model(const ov_core_t*, const ov_model_t* model, const char*, size_t,
                          ov_compiled_model_t** compiled, ...) {
  const std::string asked = variable("FAKE_OPENVINO_FAIL");
  if (asked == "compile") return failure("Check 'tokens' failed: no such shape\nhere");
  if (asked == "memory") return failure("std::bad_alloc");
  *compiled = new ov_compiled_model_t(*model);
  return 0;
}
int ov_core_import_model(const ov_core_t*, const char* content, size_t size, const char*,
                         ov_compiled_model_t** compiled) {
  const std::string blob(content, size), head = "fake blob\n";
  const size_t end = blob.find("</net>");
  if (variable("FAKE_OPENVINO_FAIL") == "import" || !blob.starts_with(head) || end == std::string::npos) {
    return failure("blob of another version");
  }
  *compiled = new ov_compiled_model_t{blob.substr(head.size(), end + 6 - head.size()), blob.substr(end + 6)};
  return 0;
}
int ov_compiled_model_export_model(const ov_compiled_model_t* model, const char* path) {
  if (variable("FAKE_OPENVINO_FAIL") == "export") return failure("No space left on device");
  std::ofstream(path, std::ios::binary) << "fake blob\n" << model->xml << model->constants;
  return 0;
}
int ov_compiled_model_create_infer_request(const ov_compiled_model_t* model, ov_infer_request_t** request) {
  *request = new ov_infer_request_t{model, {}, {}};
  return 0;
}
void ov_compiled_model_free(ov_compiled_model_t* model) {
  delete model;
}
void ov_model_free(ov_model_t* model) {
  delete model;
}
int ov_infer_request_set_input_tensor_by_index(ov_infer_request_t* request, size_t index,
                                               const ov_tensor_t* tensor) {
  request->inputs[index] = *tensor;
  return 0;
}
int ov_infer_request_set_output_tensor_by_index(ov_infer_request_t* request, size_t index,
                                                const ov_tensor_t* tensor) {
  request->outputs[index] = *tensor;
  return 0;
}
int ov_infer_request_infer(ov_infer_request_t* request) {
  if (variable("FAKE_OPENVINO_FAIL") == "infer") return failure("device lost");
  const std::string wrong = request->infer();
  return wrong.empty() ? 0 : failure(wrong);
}
void ov_infer_request_free(ov_infer_request_t* request) {
  delete request;
}
int ov_tensor_create_from_host_ptr(unsigned type, ov_shape_t shape, void* memory, ov_tensor_t** tensor) {
  *tensor = new ov_tensor_t{type, {shape.dims, shape.dims + shape.rank}, memory};
  return 0;
}
int ov_tensor_get_byte_size(const ov_tensor_t* tensor, size_t* size) {
  *size = tensor->bytes() + (variable("FAKE_OPENVINO_TYPES").empty() ? 0 : 1);
  return 0;
}
void ov_tensor_free(ov_tensor_t* tensor) {
  delete tensor;
}
}
