// cairn._core: cairn.hpp for the Python in ../cairn/, which documents it. Whatever may take long lets go of
// Python's lock.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

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
                       std::uint64_t memory, const cairn::Engine* share) {
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
               return std::make_unique<cairn::Engine>(model, options);
             });
           }),
           py::arg("model"), py::arg("context"), py::arg("threads"), py::arg("precision"),
           py::arg("repeatable"), py::arg("kv"), py::arg("weights"), py::arg("memory"),
           py::arg("share").none(true))
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
             told["chroma"] =
                 std::vector<const char*>{"none", "420", "422", "444"}.at(static_cast<size_t>(i.chroma));
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
  module.def("version", [] { return cairn::version(); });
  module.def("devices", [] { return cairn::devices(); });
  module.def("set_log_level", &cairn_set_log_level);
}
