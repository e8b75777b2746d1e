#include "offload/openvino/program.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/error.hpp"
#include "base/unfinished_file.hpp"

namespace cairn::offload::openvino {
namespace {

constexpr uint32_t kProbes = 8;  // tokens and rows that worst_error() compares

// The constants of graphs whose weights are inputs; as long-lived as any plug-in may want.
const std::byte* graph_constants() {
  struct Block {
    alignas(64) std::byte bytes[WeightLayout::kConstants] = {};
    Block() { WeightLayout::put_constants(bytes); }
  };
  static const Block block;
  return block.bytes;
}

bool means_no_memory(const std::string& reason) {
  return reason.find("bad_alloc") != std::string::npos || reason.find("OUT_OF_") != std::string::npos ||
         reason.find("ot enough memory") != std::string::npos || reason.find("allocat") != std::string::npos;
}

}  // namespace

Program::Program(const Device& device, const std::string& graph, const GraphShape& shape,
                 WeightPlacement placement, Arithmetic arithmetic, std::shared_ptr<const Weights> weights)
    : device_(device),
      shape_(shape),
      placement_(placement),
      arithmetic_(arithmetic),
      weights_(std::move(weights)),
      compiled_(nullptr, device.library->api().compiled_model_free),
      request_(nullptr, device.library->api().infer_request_free) {
  const Library& library = *device_.library;
  const auto refuse = [&] {
    const std::string reason = library.last_error();
    fail(means_no_memory(reason) ? ErrorCode::out_of_memory : ErrorCode::unsupported,
         "openvino:{} refuses graph {} of {} tokens: {}", device_.name, graph, shape_.tokens, reason);
  };
  const std::string xml = write_ir(shape_, placement_, arithmetic_);
  const size_t constants = weights_ ? weights_->layout().bytes : WeightLayout::kConstants;
  const auto buffer = library.tensor(ElementType::u8, {static_cast<int64_t>(constants)},
                                     weights_ ? weights_->block() : graph_constants());

  Model* read = nullptr;
  if (library.api().core_read_model_from_memory_buffer(device_.core.get(), xml.c_str(), xml.size(),
                                                       buffer.get(), &read) != 0) {
    refuse();
  }
  const Handle<Model> model(read, library.api().model_free);
  CompiledModel* compiled = nullptr;
  if (library.api().core_compile_model(device_.core.get(), model.get(), device_.name.c_str(), 0, &compiled) !=
      0) {
    refuse();
  }
  compiled_.reset(compiled);
  InferRequest* made = nullptr;
  if (library.api().compiled_model_create_infer_request(compiled_.get(), &made) != 0) refuse();
  request_.reset(made);
}

Program::Program(const Device& device, const std::string& graph, const GraphShape& shape,
                 WeightPlacement placement, SealedFile blob)
    : device_(device),
      shape_(shape),
      placement_(placement),
      arithmetic_(static_cast<Arithmetic>(blob.tag)),
      blob_(std::move(blob)),
      compiled_(nullptr, device.library->api().compiled_model_free),
      request_(nullptr, device.library->api().infer_request_free) {
  const Functions& api = device_.library->api();
  CompiledModel* compiled = nullptr;
  const auto content = blob_.content();
  check(api.core_import_model(device_.core.get(), reinterpret_cast<const char*>(content.data()),
                              content.size(), device_.name.c_str(), &compiled),
        graph, "cannot import its blob");
  compiled_.reset(compiled);
  InferRequest* made = nullptr;
  check(api.compiled_model_create_infer_request(compiled_.get(), &made), graph, "cannot make a request");
  request_.reset(made);
}

void Program::check(Status status, const std::string& graph, const char* what) const {
  if (status == 0) return;
  fail(ErrorCode::io, "openvino:{}, graph {}: {}: {}", device_.name, graph, what,
       device_.library->last_error());
}

void Program::run(const std::string& graph, const void* x, const Weights* weights,
                  std::span<float* const> outputs) {
  const Library& library = *device_.library;
  const Functions& api = library.api();
  if (outputs.size() != shape_.rows.size()) {
    fail(ErrorCode::invalid_argument, "graph {}: {} outputs where it has {}", graph, outputs.size(),
         shape_.rows.size());
  }
  size_t inputs = 0;
  const auto give = [&](ElementType type, int64_t rows, int64_t columns, const void* memory) {
    const auto tensor = library.tensor(type, {rows, columns}, memory);
    check(api.infer_request_set_input_tensor_by_index(request_.get(), inputs++, tensor.get()), graph,
          "refuses an input");
  };
  give(ElementType::i8, shape_.tokens, shape_.k, x);
  for (size_t i = 0; i < shape_.rows.size(); ++i) {
    if (placement_ == WeightPlacement::inputs) {
      give(ElementType::i8, shape_.rows[i], shape_.k, weights->values(i));
      give(ElementType::f32, 1, shape_.rows[i], weights->scales(i));
    }
    const auto tensor = library.tensor(ElementType::f32, {shape_.tokens, shape_.rows[i]}, outputs[i]);
    check(api.infer_request_set_output_tensor_by_index(request_.get(), i, tensor.get()), graph,
          "refuses memory for an output");
  }
  check(api.infer_request_infer(request_.get()), graph, "failed");
}

double Program::worst_error(const std::string& graph, const Weights& weights) {
  const size_t k = shape_.k, tokens = shape_.tokens;
  std::vector<int8_t> x(tokens * k);
  std::vector<std::vector<float>> results;
  std::vector<float*> outputs;
  for (const uint32_t rows : shape_.rows) outputs.push_back(results.emplace_back(tokens * rows).data());

  double worst = 0;
  for (size_t i = 0; i < shape_.rows.size(); ++i) {
    const uint32_t rows = shape_.rows[i], probes = std::min(kProbes, rows);
    const auto row = [&](size_t probe) { return weights.values(i) + probe % probes * (rows / probes) * k; };
    for (size_t t = 0; t < tokens; ++t) {  // ±127 with the signs of a row: the largest sum that row can give
      for (size_t c = 0; c < k; ++c) x[t * k + c] = static_cast<int8_t>(row(t)[c] < 0 ? -127 : 127);
    }
    run(graph, x.data(), &weights, outputs);
    for (size_t t = 0; t < std::min<size_t>(tokens, kProbes); ++t) {
      for (uint32_t probe = 0; probe < probes; ++probe) {
        int64_t sum = 0, largest = 1;
        for (size_t c = 0; c < k; ++c) {
          sum += int64_t{x[t * k + c]} * row(probe)[c];
          largest += 127 * std::abs(row(probe)[c]);
        }
        const size_t r = size_t{probe} * (rows / probes);
        const double scale = weights.scales(i)[r];
        const double error = std::abs(results[i][t * rows + r] - static_cast<double>(sum) * scale) /
                             (static_cast<double>(largest) * std::max(std::abs(scale), 1e-30));
        worst = std::isfinite(error) ? std::max(worst, error) : 1;
      }
    }
  }
  return worst;
}

void Program::write_blob(const std::string& path, const std::string& identity) {
  const UnfinishedFile exported(path, path);  // OpenVINO writes by path alone; gone when it has been sealed
  check(device_.library->api().compiled_model_export_model(compiled_.get(), exported.path().c_str()), path,
        "cannot export its blob");
  const MappedFile file(exported.path());
  write_sealed(path, identity, static_cast<uint32_t>(arithmetic_),
               [&](const auto& put) { put(file.bytes()); });
}

uint64_t Program::kept_bytes() const {
  if (placement_ == WeightPlacement::inputs) return 0;
  return weights_ ? weights_->layout().bytes : blob_.size;
}

}  // namespace cairn::offload::openvino
