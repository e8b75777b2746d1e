// cairn._core: cairn.hpp for the Python in ../cairn/, which documents it. Whatever may take long lets go of
// Python's lock.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cairn/cairn.hpp>
#include <memory>

#include "options.hpp"
#include "stream.hpp"

namespace py = pybind11;

namespace binding {
namespace {

using Release = py::call_guard<py::gil_scoped_release>;

template <class Body>
auto unlocked(const Body& body) {
  const py::gil_scoped_release release;
  return body();
}

void add_errors(py::module_& module) {
  static PyObject* const kError = PyErr_NewExceptionWithDoc(
      "cairn.Error", "A call that failed: one line, and `code`, the kind of failure.", PyExc_RuntimeError,
      nullptr);
  if (kError == nullptr) throw py::error_already_set();
  module.add_object("Error", kError);
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const cairn::Error& error) {
      py::object made = py::reinterpret_borrow<py::object>(kError)(error.what());
      made.attr("code") = cairn_status_name(error.code());
      PyErr_SetObject(kError, made.ptr());
    }
  });
}

void add_models(py::module_& module) {
  py::class_<cairn::Model>(module, "Model")
      .def(py::init<const std::string&, const std::string&>(), Release())
      .def("info",
           [](const cairn::Model& model) {
             const cairn::ModelInfo i = model.info();
             py::dict told;
             told["path"] = i.path;
             told["name"] = i.name;
             told["architecture"] = i.architecture;
             told["file_bytes"] = i.file_bytes;
             told["weights"] = i.weights;
             told["context"] = i.context;
             told["layers"] = i.layers;
             told["embedding"] = i.embedding;
             told["vocabulary"] = i.vocabulary;
             told["bos"] = i.bos;
             told["eos"] = i.eos;
             told["has_chat_template"] = i.has_chat_template;
             told["is_stack"] = i.is_stack;
             return told;
           })
      .def("describe", &cairn::Model::describe, Release())
      .def("tokenize",
           [](const cairn::Model& model, const py::bytes& text, bool bos, bool eos, bool special) {
             const std::string bytes = text;
             return unlocked([&] { return model.tokenize(bytes, {bos, eos, special}); });
           })
      .def("detokenize", [](const cairn::Model& model, const std::vector<std::int32_t>& tokens,
                            bool special) { return py::bytes(model.detokenize(tokens, special)); })
      .def("is_end", &cairn::Model::is_end)
      .def(
          "render",
          [](const cairn::Model& model, const std::string& messages, const std::string& variables,
             bool sanitize, const std::string& tools) {
            return model.render(messages, {variables, sanitize, tools});
          },
          Release())
      .def(
          "tokenize_messages",
          [](const cairn::Model& model, const std::string& messages, const std::string& variables,
             bool sanitize, const std::string& tools) {
            return model.tokenize_messages(messages, {variables, sanitize, tools});
          },
          Release())
      .def("stack", [](const cairn::Model& model) {
        const cairn_stack_info i = model.stack();
        py::dict told;
        told["weights"] = i.weights;
        told["base_bytes"] = i.base_bytes;
        told["file_bytes"] = i.file_bytes;
        told["present_bytes"] = i.present_bytes;
        told["blocks"] = i.blocks;
        told["base_blocks"] = i.base_blocks;
        told["bits"] = i.bits;
        told["base_bits"] = i.base_bits;
        return told;
      });
}

void add_engines(py::module_& module) {
  py::class_<cairn::Engine>(module, "Engine")
      .def(py::init([](const cairn::Model& model, std::uint32_t context, std::uint32_t threads,
                       std::int32_t precision, bool repeatable, std::int32_t kv, std::int32_t weights,
                       std::uint64_t memory, const cairn::Engine* share, const std::string& device,
                       std::uint64_t device_memory) {
             return unlocked([&] {
               cairn::EngineOptions options;
               options.context = context;
               options.threads = threads;
               options.precision = precision;
               options.repeatable = repeatable ? 1 : 0;
               options.kv = kv;
               options.weights = weights;
               options.memory = memory;
               options.share = share == nullptr ? nullptr : share->get();
               options.device = device.c_str();
               options.device_memory = device_memory;
               return std::make_unique<cairn::Engine>(model, options);
             });
           }),
           py::arg("model"), py::arg("context"), py::arg("threads"), py::arg("precision"),
           py::arg("repeatable"), py::arg("kv"), py::arg("weights"), py::arg("memory"),
           py::arg("share").none(true), py::arg("device"), py::arg("device_memory"))
      .def("context", [](const cairn::Engine& engine) { return engine.info().context; })
      .def("threads", [](const cairn::Engine& engine) { return engine.info().threads; })
      .def("memory",
           [](const cairn::Engine& engine) {
             const cairn_memory m = engine.memory();
             const cairn_engine_info i = engine.info();
             py::dict told;
             told["budget"] = m.budget;
             told["automatic"] = m.automatic != 0;
             told["elastic"] = i.elastic != 0;
             told["process"] = m.process;
             told["stack"] = m.stack;
             told["stack_all"] = m.stack_all;
             told["bits"] = m.bits;
             told["kv_bytes"] = i.kv_bytes;
             return told;
           })
      .def("set_memory", &cairn::Engine::set_memory, Release())
      .def("embed", [](const cairn::Engine& engine, const std::vector<std::int32_t>& tokens,
                       std::int32_t pooling, std::uint32_t dimensions, bool normalize) {
        return unlocked([&] {
          cairn::EmbedOptions options;
          options.pooling = pooling;
          options.dimensions = dimensions;
          options.normalize = normalize ? 1 : 0;
          return cairn::embed(engine, tokens, options);
        });
      });
  module.attr("MEMORY_AUTO") = CAIRN_MEMORY_AUTO;
}

void add_sessions(py::module_& module) {
  py::class_<cairn::Session, std::shared_ptr<cairn::Session>>(module, "Session")
      .def(py::init<const cairn::Engine&>(), Release())
      .def("generate",
           [](const std::shared_ptr<cairn::Session>& session, std::vector<std::int32_t> prompt,
              const py::dict& options) {
             return Stream::by_thread(
                 [session, prompt = std::move(prompt)](const cairn::GenerateOptions& o) {
                   return session->generate(prompt, o);
                 },
                 options_of(options));
           })
      .def("clear", &cairn::Session::clear)
      .def("cached", &cairn::Session::cached)
      .def("set_draft", &cairn::Session::set_draft, Release());
  py::class_<cairn::Chat, std::shared_ptr<cairn::Chat>>(module, "Chat")
      .def(py::init<const cairn::Session&, const std::string&, bool>(), Release())
      .def("send",
           [](const std::shared_ptr<cairn::Chat>& chat, std::string user, const py::dict& options) {
             return Stream::by_thread([chat, user = std::move(user)](
                                          const cairn::GenerateOptions& o) { return chat->send(user, o); },
                                      options_of(options));
           })
      .def("send_messages",
           [](const std::shared_ptr<cairn::Chat>& chat, std::string messages, const py::dict& options) {
             return Stream::by_thread(
                 [chat, messages = std::move(messages)](const cairn::GenerateOptions& o) {
                   return chat->send_messages(messages, o);
                 },
                 options_of(options));
           })
      .def("regenerate",
           [](const std::shared_ptr<cairn::Chat>& chat, const py::dict& options) {
             return Stream::by_thread([chat](const cairn::GenerateOptions& o) { return chat->regenerate(o); },
                                      options_of(options));
           })
      .def("save", &cairn::Chat::save)
      .def("restore", &cairn::Chat::restore);
}

void add_batches(py::module_& module) {
  py::class_<cairn::Batch, std::shared_ptr<cairn::Batch>>(module, "Batch")
      .def(py::init([](const cairn::Engine& engine, std::uint32_t sequences, std::uint32_t queue,
                       std::uint64_t kept_bytes, const cairn::Engine* draft) {
             return unlocked([&] {
               cairn::BatchOptions options;
               options.sequences = sequences;
               options.queue = queue;
               options.kept_bytes = kept_bytes;
               options.draft = draft == nullptr ? nullptr : draft->get();
               return std::make_shared<cairn::Batch>(engine, options);
             });
           }),
           py::arg("engine"), py::arg("sequences"), py::arg("queue"), py::arg("kept_bytes"),
           py::arg("draft").none(true))
      .def("submit",
           [](const std::shared_ptr<cairn::Batch>& batch, const std::vector<std::int32_t>& prompt,
              int priority, const py::dict& options) {
             return Stream::by_batch(batch, prompt, options_of(options), priority);
           })
      .def("status", [](const cairn::Batch& batch) {
        const cairn_batch_status s = batch.status();
        py::dict told;
        told["waiting"] = s.waiting;
        told["running"] = s.running;
        told["tokens"] = s.tokens;
        told["prompt_tokens"] = s.prompt_tokens;
        told["cached_tokens"] = s.cached_tokens;
        return told;
      });
}

// A frame's planes as arrays [height][width] of Python's, whose rows may lie apart; `kept` holds on to them.
cairn_image image_of(const py::sequence& planes, const cairn_restorer_info& info,
                     std::vector<py::buffer_info>& kept) {
  const std::size_t count = info.chroma == CAIRN_CHROMA_NONE ? 1 : 3;
  const py::ssize_t sample = info.bits == 8 ? 1 : 2;
  if (planes.size() != count)
    throw py::value_error("planes: " + std::to_string(planes.size()) + ", it takes " + std::to_string(count));
  cairn_image image{};
  image.size = sizeof image;
  for (std::size_t p = 0; p < count; ++p) {
    kept.push_back(py::buffer(planes[p]).request());
    const py::buffer_info& plane = kept.back();
    if (plane.ndim != 2 || plane.itemsize != sample || plane.strides[1] != sample || plane.strides[0] < 0)
      throw py::value_error("plane " + std::to_string(p) + ": it takes [height][width] of uint" +
                            std::to_string(8 * sample) + ", rows without gaps between samples");
    // Of chroma the height is not told to cairn; its width is a matter of strides.
    image.planes[p] = plane.ptr;
    image.strides[p] = static_cast<std::size_t>(plane.strides[0]);
    image.bytes[p] =
        plane.shape[0] == 0
            ? 0
            : static_cast<std::size_t>((plane.shape[0] - 1) * plane.strides[0] + plane.shape[1] * sample);
    const auto width = static_cast<std::uint32_t>(plane.shape[1]),
               height = static_cast<std::uint32_t>(plane.shape[0]);
    const bool half_x = p > 0 && info.chroma != CAIRN_CHROMA_444,
               half_y = p > 0 && info.chroma == CAIRN_CHROMA_420;
    if (p == 0) {
      image.width = width;
      image.height = height;
    } else if (width != (half_x ? (image.width + 1) / 2 : image.width) ||
               height != (half_y ? (image.height + 1) / 2 : image.height)) {
      throw py::value_error("plane " + std::to_string(p) + ": " + std::to_string(width) + "x" +
                            std::to_string(height) + " does not fit luma");
    }
  }
  return image;
}

py::list restore(cairn::Restorer& restorer, std::uint64_t frame, const py::sequence& small,
                 const py::object& before, const py::object& after) {
  const cairn_restorer_info info = restorer.info();
  std::vector<py::buffer_info> kept;
  const cairn_image now = image_of(small, info, kept);
  cairn_image around[2];
  const cairn_image* neighbours[2] = {};
  for (int i = 0; i < 2; ++i) {
    const py::object& planes = i == 0 ? before : after;
    if (planes.is_none()) continue;
    around[i] = image_of(planes, info, kept);
    neighbours[i] = &around[i];
  }
  cairn_image out = cairn::packed_image(nullptr, info.width, info.height, info.bits, info.chroma);
  py::list planes;
  const std::size_t count = info.chroma == CAIRN_CHROMA_NONE ? 1 : 3;
  for (std::size_t p = 0; p < count; ++p) {
    auto bytes = py::reinterpret_steal<py::object>(
        PyByteArray_FromStringAndSize(nullptr, static_cast<py::ssize_t>(out.bytes[p])));
    if (!bytes) throw py::error_already_set();
    out.planes[p] = PyByteArray_AS_STRING(bytes.ptr());
    const std::size_t width = out.strides[p] / (info.bits == 8 ? 1 : 2);
    planes.append(py::make_tuple(width, out.bytes[p] / out.strides[p], bytes));
  }
  unlocked([&] { restorer.restore(frame, now, out, neighbours[0], neighbours[1]); });
  return planes;
}

const char* chroma_name(std::int32_t chroma) {
  return std::array{"none", "420", "422", "444"}.at(static_cast<size_t>(chroma));
}

void add_restorers(py::module_& module) {
  const auto options_of = [](std::uint32_t threads, std::uint32_t bits, std::int32_t chroma) {
    cairn::RestorerOptions options;
    options.threads = threads;
    options.bits = bits;
    options.chroma = chroma;
    return options;
  };
  py::class_<cairn::Restorer>(module, "Restorer")
      .def(py::init(
          [=](const py::bytes& attachment, std::uint32_t threads, std::uint32_t bits, std::int32_t chroma) {
            const std::string bytes = attachment;
            return std::make_unique<cairn::Restorer>(bytes.data(), bytes.size(),
                                                     options_of(threads, bits, chroma));
          }))
      .def(py::init(
          [=](const std::string& path, std::uint32_t threads, std::uint32_t bits, std::int32_t chroma) {
            return std::make_unique<cairn::Restorer>(path, options_of(threads, bits, chroma));
          }))
      .def("info",
           [](const cairn::Restorer& restorer) {
             const cairn_restorer_info i = restorer.info();
             py::dict told;
             told["small_width"] = i.small_width;
             told["small_height"] = i.small_height;
             told["width"] = i.width;
             told["height"] = i.height;
             told["scale"] = i.scale;
             told["bits"] = i.bits;
             told["chroma"] = chroma_name(i.chroma);
             told["networks"] = i.networks;
             told["needs_before"] = i.needs_before != 0;
             told["needs_after"] = i.needs_after != 0;
             return told;
           })
      .def("restore", &restore)  // [(width, height, bytearray), …]
      .def("network_at", &cairn::Restorer::network_at);
}

void add_videos(py::module_& module) {
  py::class_<cairn::Video>(module, "Video")
      .def(py::init([](const std::string& path, std::uint32_t threads, bool keep_going) {
        return unlocked([&] {
          cairn::VideoOptions options;
          options.threads = threads;
          options.keep_going = keep_going ? 1 : 0;
          return std::make_unique<cairn::Video>(path, options);
        });
      }))
      .def("info",
           [](const cairn::Video& video) {
             const cairn_video_info i = video.info();
             py::dict told;
             told["width"] = i.width;
             told["height"] = i.height;
             told["small_width"] = i.small_width;
             told["small_height"] = i.small_height;
             told["bits"] = i.bits;
             told["chroma"] = chroma_name(i.chroma);
             told["restored"] = i.restored != 0;
             told["frames"] = i.frames;
             told["seconds_per_tick"] = i.seconds_per_tick;
             told["frame_rate"] = i.frame_rate;
             return told;
           })
      // (pts, duration, [(width, height, samples as bytes of 16 bits), …]); None at the end.
      .def("next",
           [](cairn::Video& video) -> py::object {
             cairn_video_frame frame{};
             if (!unlocked([&] { return video.next(frame); })) return py::none();
             py::list planes;
             for (std::uint32_t i = 0; i < frame.plane_count; ++i) {
               const std::size_t samples = std::size_t{frame.width[i]} * frame.height[i];
               planes.append(py::make_tuple(frame.width[i], frame.height[i],
                                            py::bytes(reinterpret_cast<const char*>(frame.planes[i]),
                                                      samples * sizeof(std::uint16_t))));
             }
             return py::make_tuple(frame.pts, frame.duration, planes);
           })
      .def("rewind", &cairn::Video::rewind, Release());
}

}  // namespace
}  // namespace binding

PYBIND11_MODULE(_core, module) {
  binding::add_errors(module);
  binding::add_models(module);
  binding::add_engines(module);
  binding::add_streams(module);
  binding::add_sessions(module);
  binding::add_batches(module);
  binding::add_videos(module);
  binding::add_restorers(module);
  module.def("version", [] { return cairn::version(); });
  module.def("devices", [] { return cairn::devices(); });
  module.def("set_log_level", &cairn_set_log_level);
}
