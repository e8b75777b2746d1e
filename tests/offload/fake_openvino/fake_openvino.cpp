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

#include "offload/openvino/library.hpp"

namespace cairn::offload::openvino {

struct Core {};
struct Tensor {
  ElementType type;
  std::vector<int64_t> dims;
  void* memory;
  size_t elements() const {
    size_t count = 1;
    for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
    return count;
  }
  size_t bytes() const { return elements() * (type == ElementType::f32 ? 4 : 1); }
};
struct Model {
  std::string xml, constants;
};
struct CompiledModel : Model {};

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

struct InferRequest {
  const CompiledModel* model;
  std::map<size_t, Tensor> inputs, outputs;

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
        const Tensor& tensor = inputs.at(parameters++);
        const std::string type = attribute(layer.data, "element_type");
        if (tensor.dims != sizes_in(attribute(layer.data, "shape"))) return "a tensor of another shape";
        if (tensor.type != (type == "i8" ? ElementType::i8 : ElementType::f32))
          return "a tensor of another type";
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
        const Tensor& tensor = outputs.at(results++);
        if (tensor.elements() != in(0).values.size()) return "an output of another shape";
        std::memcpy(tensor.memory, in(0).values.data(), tensor.bytes());
      } else {
        return "no such operation: " + layer.type;
      }
    }
    return "";
  }
};

}  // namespace cairn::offload::openvino

extern "C" {
using namespace cairn::offload::openvino;

int ov_get_openvino_version(VersionInfo* version) {
  const std::string asked = variable("FAKE_OPENVINO_VERSION");
  version->build = copy_of(asked.empty() ? "2026.4.1-1-fake" : asked);
  version->description = copy_of("fake");
  return 0;
}
void ov_version_free(VersionInfo* version) {
  delete[] version->build;
  delete[] version->description;
}
const char* ov_get_last_err_msg() {
  return copy_of(last_error);
}
void ov_free(const char* text) {
  delete[] text;
}

int ov_core_create(Core** core) {
  if (variable("FAKE_OPENVINO_FAIL") == "start") return failure("no plug-ins");
  *core = new Core;
  return 0;
}
void ov_core_free(Core* core) {
  delete core;
}
int ov_core_get_available_devices(const Core*, DeviceNames* devices) {
  devices->count = 2;
  devices->names = new char* [2] { copy_of("CPU"), copy_of("NPU") };
  return 0;
}
void ov_available_devices_free(DeviceNames* devices) {
  for (size_t i = 0; i < devices->count; ++i) delete[] devices->names[i];
  delete[] devices->names;
}
int ov_core_get_property(const Core*, const char* device, const char* key, char** value) {
  const std::string name = device;
  if (name == "GPU") return failure("libOpenCL.so.1: cannot open shared object file");
  if (std::strcmp(key, "FULL_DEVICE_NAME") == 0) {
    *value = copy_of("Fake " + name);
  } else if (name == "NPU" && std::strcmp(key, "NPU_DRIVER_VERSION") == 0) {
    const std::string driver = variable("FAKE_OPENVINO_DRIVER");
    *value = copy_of(driver.empty() ? "7" : driver);
  } else {
    return failure(std::string("Unsupported configuration key: ") + key);
  }
  return 0;
}
int ov_core_set_property(const Core*, const char*, ...) {
  return 0;
}
int ov_core_read_model_from_memory_buffer(const Core*, const char* xml, size_t size, const Tensor* constants,
                                          Model** model) {
  *model = new Model{std::string(xml, size),
                     std::string(static_cast<const char*>(constants->memory), constants->bytes())};
  return 0;
}
int ov_core_compile_model(const Core*, const Model* model, const char*, size_t, CompiledModel** compiled,
                          ...) {
  const std::string asked = variable("FAKE_OPENVINO_FAIL");
  if (asked == "compile") return failure("Check 'tokens' failed: no such shape\nhere");
  if (asked == "memory") return failure("std::bad_alloc");
  *compiled = new CompiledModel{*model};
  return 0;
}
int ov_core_import_model(const Core*, const char* content, size_t size, const char*,
                         CompiledModel** compiled) {
  const std::string blob(content, size), head = "fake blob\n";
  const size_t end = blob.find("</net>");
  if (variable("FAKE_OPENVINO_FAIL") == "import" || !blob.starts_with(head) || end == std::string::npos) {
    return failure("blob of another version");
  }
  *compiled = new CompiledModel{{blob.substr(head.size(), end + 6 - head.size()), blob.substr(end + 6)}};
  return 0;
}
int ov_compiled_model_export_model(const CompiledModel* model, const char* path) {
  if (variable("FAKE_OPENVINO_FAIL") == "export") return failure("No space left on device");
  std::ofstream(path, std::ios::binary) << "fake blob\n" << model->xml << model->constants;
  return 0;
}
int ov_compiled_model_create_infer_request(const CompiledModel* model, InferRequest** request) {
  *request = new InferRequest{model, {}, {}};
  return 0;
}
void ov_compiled_model_free(CompiledModel* model) {
  delete model;
}
void ov_model_free(Model* model) {
  delete model;
}
int ov_infer_request_set_input_tensor_by_index(InferRequest* request, size_t index, const Tensor* tensor) {
  request->inputs[index] = *tensor;
  return 0;
}
int ov_infer_request_set_output_tensor_by_index(InferRequest* request, size_t index, const Tensor* tensor) {
  request->outputs[index] = *tensor;
  return 0;
}
int ov_infer_request_infer(InferRequest* request) {
  if (variable("FAKE_OPENVINO_FAIL") == "infer") return failure("device lost");
  const std::string wrong = request->infer();
  return wrong.empty() ? 0 : failure(wrong);
}
void ov_infer_request_free(InferRequest* request) {
  delete request;
}
int ov_tensor_create_from_host_ptr(ElementType type, Shape shape, void* memory, Tensor** tensor) {
  *tensor = new Tensor{type, {shape.sizes, shape.sizes + shape.rank}, memory};
  return 0;
}
int ov_tensor_get_byte_size(const Tensor* tensor, size_t* size) {
  *size = tensor->bytes() + (variable("FAKE_OPENVINO_TYPES").empty() ? 0 : 1);
  return 0;
}
void ov_tensor_free(Tensor* tensor) {
  delete tensor;
}
}
