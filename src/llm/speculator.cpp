#include "llm/speculator.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "llm/sampler.hpp"

namespace cairn::llm {
namespace {

constexpr double kWorthwhile = 1.02;  // over no guess
// A draft chooses among so many tokens. Vocabularies begin with what is frequent: of code and English 96 % of
// the tokens are among Qwen 2.5's first 40,960, and the other 110,976 are a third of what a draft of 0.5B
// reads.
constexpr uint32_t kDrafted = 40'960;
// What a stack drafts with, in bits a weight; which of them is for what was accepted and what they took.
constexpr double kBits[] = {2, 2.5, 3, 4};

// Which part of by_sureness a token is in whose logit is so much above the next one's.
size_t sureness(float margin) {
  constexpr float kBounds[] = {0.3f, 0.7f, 1.2f, 2, 3, 4.5f, 6.5f};
  return static_cast<size_t>(std::upper_bound(std::begin(kBounds), std::end(kBounds), margin) -
                             std::begin(kBounds));
}

// Takes what a stack has drafted out of its sequences again.
class Rollback {
 public:
  Rollback() = default;
  ~Rollback() {
    for (const auto& [sequence, length] : lengths_) sequence->truncate(length);
  }
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  void add(engine::Sequence& sequence) { lengths_.emplace_back(&sequence, sequence.length()); }

 private:
  std::vector<std::pair<engine::Sequence*, uint32_t>> lengths_{};
};

}  // namespace

Speculator::Draft::Draft(std::shared_ptr<engine::Engine> with, double bits_a_weight, double share_of_time,
                         double right)
    : engine(std::move(with)), bits(bits_a_weight), share(share_of_time), usual(right, 4) {
  constexpr double kSupposed[] = {0.35, 0.45, 0.55, 0.7, 0.8, 0.9, 0.96, 0.99};
  for (size_t i = 0; i < by_sureness.size(); ++i) by_sureness[i] = Chance(kSupposed[i], 4);
}

double Speculator::Draft::token(const StepCost& model) const {
  const double supposed = share * model.of(1);
  return cost.settled(1) ? cost.of(1) : supposed;
}

Speculator::Speculator(std::shared_ptr<engine::Engine> engine, size_t sampled)
    : engine_(std::move(engine)), sampled_(sampled) {
  set_draft(nullptr);
}

void Speculator::set_draft(std::shared_ptr<engine::Engine> draft) {
  drafts_.clear();
  if (draft) drafts_.emplace_back(std::move(draft), 0, 0.35, 0.8);
  if (engine_->predicts()) drafts_.emplace_back(engine_, 1, 0.15, 0.75);  // a layer, and the head
  if (!engine_->elastic()) return;
  for (const double bits : kBits)
    drafts_.emplace_back(engine_, bits, 0.2 + 0.8 * bits / 6.2, 0.55 + 0.1 * (bits - 2) + 0.15 * (bits > 2));
}

void Speculator::check(Speculation kind) const {
  const bool model = !drafts_.empty() && drafts_.front().bits == 0;
  if (kind == Speculation::draft && !model)
    fail(ErrorCode::invalid_argument,
         "speculation by a draft needs a small model that drafts: there is none");
  if (kind == Speculation::self && !engine_->elastic() && !engine_->predicts()) {
    fail(ErrorCode::invalid_argument,
         "the model cannot draft for itself: it is no stack, whose first bits are a model (see `cairn "
         "stack`), and has no layer that predicts further tokens");
  }
}

// Tokens a second of the step, if this text alone is guessed of, at the best depth.
double Speculator::rate(const Choice& choice, size_t decoding) const {
  double tokens = static_cast<double>(decoding), chance = 1, best = 0;
  const double token = choice.draft ? choice.draft->token(cost_) : 0;
  for (size_t i = 0; i < choice.chances.size(); ++i) {
    tokens += chance *= choice.chances[i];
    best = std::max(best, tokens / (cost_.of(decoding + i + 1) + token * static_cast<double>(i + 1)));
  }
  return best;
}

std::optional<Speculator::Choice> Speculator::choose(const Text& text, size_t decoding, size_t most) {
  if (most == 0) return std::nullopt;  // not to be tried either
  Guesses& guesses = *text.guesses;
  std::optional<Choice> best;
  double best_rate = 0;
  const auto offer = [&](Choice choice) {
    const double its = rate(choice, decoding);
    if (best && its <= best_rate) return;
    best_rate = its;
    best = std::move(choice);
  };
  const Speculation kind = guesses.kind();
  if (kind == Speculation::lookup || kind == Speculation::automatic) {
    const Lookup::Found found = guesses.lookup_.guess(most);
    Choice choice{&text};
    for (size_t i = 0; i < found.tokens.size(); ++i)
      choice.chances.push_back(guesses.matches_[std::min(found.match + i, Lookup::kLongestMatch)].value());
    if (!found.tokens.empty()) offer(std::move(choice));
  }
  if (kind == Speculation::lookup || kind == Speculation::none || guesses.broken_) return best;
  for (size_t i = guesses.drafts_.size(); i < drafts_.size(); ++i)
    guesses.drafts_.emplace_back(drafts_[i].usual.value(), 4);
  for (size_t i = 0; i < drafts_.size(); ++i) {
    Draft& draft = drafts_[i];
    const bool model = draft.bits == 0;
    if (model ? kind == Speculation::self : kind == Speculation::draft) continue;
    if (model && text.tokens.size() + most > draft.engine->context()) continue;
    offer({&text, &draft, std::vector<double>(most, guesses.drafts_[i].value())});
    if (model) break;  // a stack that has a small model need not draft for itself
  }
  return best;
}

// Gives each choice its depth, so that the step has the most tokens a second; returns those.
double Speculator::share(std::span<Choice> choices, size_t decoding) const {
  const size_t most = engine_->rows();
  double tokens = static_cast<double>(decoding), seconds = cost_.of(decoding);
  double best = kWorthwhile * tokens / seconds;
  std::vector<size_t> depth(choices.size());
  std::vector<double> chance(choices.size(), 1);
  // A draft's step serves all texts that go on: beside others a text costs it a row.
  const auto drafting = [&](size_t i) {
    if (choices[i].draft == nullptr) return 0.0;
    size_t others = 0;
    for (size_t j = 0; j < choices.size(); ++j)
      others += choices[j].draft == choices[i].draft && depth[j] > depth[i] ? 1 : 0;
    const Draft& draft = *choices[i].draft;
    return others == 0 ? draft.token(cost_) : draft.cost.known() ? draft.cost.more(others) : 0;
  };
  for (size_t rows = decoding; rows < most; ++rows) {
    size_t found = choices.size();
    double worth = 0;
    for (size_t i = 0; i < choices.size(); ++i) {
      if (depth[i] >= choices[i].chances.size()) continue;
      const double cost = cost_.more(rows) + drafting(i) + 1e-9;
      const double its = chance[i] * choices[i].chances[depth[i]] / cost;
      if (its > worth) {
        worth = its;
        found = i;
      }
    }
    if (found == choices.size()) break;
    seconds += cost_.more(rows) + drafting(found);
    tokens += chance[found] *= choices[found].chances[depth[found]++];
    if (tokens / seconds <= best) continue;
    best = tokens / seconds;
    for (size_t i = 0; i < choices.size(); ++i) choices[i].depth = depth[i];
  }
  return best;
}

void Speculator::guess(std::span<const Text> texts, size_t decoding, uint32_t piece,
                       const engine::Cancelled& cancelled) {
  for (const Text& text : texts) text.guesses->drop();
  if (!cost_.known() || decoding >= engine_->rows()) return;  // a step without guesses comes first
  std::vector<Choice> choices;
  for (const Text& text : texts) {
    auto choice = choose(text, decoding, std::min<size_t>(text.most, engine_->rows() - decoding));
    if (choice) choices.push_back(std::move(*choice));
  }
  const double rate = share(choices, decoding);
  size_t rows = decoding;
  for (Choice& choice : choices) {
    Guesses& guesses = *choice.text->guesses;
    if (choice.depth > 0) {
      guesses.idle_ = 0;
    } else if (++guesses.idle_ > guesses.pause_) {
      guesses.idle_ = 0;
      guesses.trial_ = true;
      cost_.doubt();  // measured in a bad moment, they would keep all guesses away
      choice.depth = 1;
    }
    if (choice.depth > 0 && choice.draft == nullptr) look_up(choice, rows, rate);
  }
  for (Draft& with : drafts_) {
    std::vector<Choice*> these;
    for (Choice& choice : choices) {
      if (choice.depth > 0 && choice.draft == &with) these.push_back(&choice);
    }
    if (!these.empty()) draft(with, these, rows, rate, piece, cancelled);
  }
}

void Speculator::look_up(Choice& choice, size_t& rows, double rate) {
  Guesses& guesses = *choice.text->guesses;
  const Lookup::Found found = guesses.lookup_.guess(choice.chances.size());
  for (size_t i = 0; i < found.tokens.size() && rows < engine_->rows(); ++i) {
    choice.chance *= choice.chances[i];
    const bool first_of_trial = guesses.trial_ && i == 0;
    if (guesses.trial_ ? !first_of_trial : choice.chance < rate * cost_.more(rows)) break;
    guesses.tokens_.push_back(found.tokens[i]);
    guesses.chances_.push_back(&guesses.matches_[std::min(found.match + i, Lookup::kLongestMatch)]);
    ++rows;
  }
}

// Round after round, a token of each text as long as it is likely to be right.
void Speculator::draft(Draft& with, std::span<Choice*> choices, size_t& rows, double rate, uint32_t& piece,
                       const engine::Cancelled& cancelled) {
  std::vector<Choice*> alive;
  Rollback rollback;
  for (Choice* choice : choices) {
    Guesses& guesses = *choice->text->guesses;
    if (with.bits > 0) rollback.add(*choice->text->sequence);
    guesses.of_draft_ = {&guesses.drafts_[static_cast<size_t>(&with - drafts_.data())], &with.usual};
    if (with.bits > 0 || catch_up(with, *choice, piece, cancelled)) alive.push_back(choice);
  }
  while (!alive.empty()) {
    alive.resize(std::min(alive.size(), engine_->rows() - rows));
    if (alive.empty()) break;
    try {
      run(with, alive);
    } catch (const Error&) {
      for (Choice* choice : alive) choice->text->guesses->broken_ = true;
      break;
    }
    std::vector<Choice*> next;
    const size_t vocabulary = with.engine->model().parameters.vocabulary;
    for (size_t i = 0; i < alive.size(); ++i) {
      const std::span<float> all = std::span(logits_).subspan(i * vocabulary, vocabulary);
      if (take(with, *alive[i], all.first(std::min({sampled_, vocabulary, size_t{kDrafted}})), rows, rate))
        next.push_back(alive[i]);
    }
    alive = std::move(next);
  }
}

// A small model's sequence reads what it is behind in, but for the last tokens, which are rows of the first
// round. False: it is not there yet.
bool Speculator::catch_up(Draft& with, Choice& choice, uint32_t& piece, const engine::Cancelled& cancelled) {
  auto& [sequence, before, read] = choice.text->guesses->draft_text_;
  const std::span<const Token> tokens = choice.text->tokens;
  try {
    if (!sequence) sequence = with.engine->make_sequence();
    const size_t comparable = std::min(read.size(), tokens.size() - 1);
    const auto differs =
        std::mismatch(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(comparable), read.begin());
    const auto right = static_cast<uint32_t>(differs.first - tokens.begin());
    if (before && before->length() <= right && right < sequence->length()) sequence = std::move(before);
    read.resize(sequence->truncate(std::min(right, sequence->length())));
    while (tokens.size() - read.size() > with.engine->rows()) {
      const auto size = static_cast<uint32_t>(
          std::min<size_t>({tokens.size() - 1 - read.size(), piece, with.engine->chunk()}));
      if (size == 0) return false;
      const auto part = tokens.subspan(read.size(), size);
      with.engine->step({sequence.get(), part}, cancelled);
      read.insert(read.end(), part.begin(), part.end());
      piece -= size;
    }
    if (graph::has_state(with.engine->model())) before = sequence->fork();
    return true;
  } catch (const Error& error) {
    choice.text->guesses->broken_ = error.code() != ErrorCode::cancelled;
    return false;
  }
}

// A step of the draft: each text's next logits.
void Speculator::run(Draft& with, std::span<Choice*> choices) {
  const size_t vocabulary = with.engine->model().parameters.vocabulary;
  logits_.resize(std::max(logits_.size(), choices.size() * vocabulary));
  std::vector<std::vector<Token>> inputs(choices.size());
  std::vector<engine::Slice> slices;
  size_t rows = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    const Text& text = *choices[i]->text;
    Guesses& guesses = *text.guesses;
    const std::vector<Token>& guessed = guesses.tokens_;
    engine::Sequence* sequence = text.sequence;
    if (!guessed.empty()) {
      inputs[i] = {guessed.back()};
    } else if (with.bits > 0) {
      inputs[i] = {text.tokens.back()};
    } else {
      const auto behind = text.tokens.subspan(guesses.draft_text_.read.size());
      inputs[i].assign(behind.begin(), behind.end());
    }
    if (with.bits == 0) sequence = guesses.draft_text_.sequence.get();
    slices.push_back({sequence, inputs[i], engine::Logits::last, logits_.data() + i * vocabulary, kDrafted});
    rows += inputs[i].size();
  }
  const Stopwatch watch;
  if (with.bits > 0) {
    with.engine->draft(slices, with.bits);
  } else {
    with.engine->step(slices);
    for (size_t i = 0; i < choices.size(); ++i) {
      std::vector<Token>& read = choices[i]->text->guesses->draft_text_.read;
      read.insert(read.end(), inputs[i].begin(), inputs[i].end());
    }
  }
  with.cost.learn(rows, watch.seconds());
}

// The draft's most likely token becomes a guess where it is worth a row of the check. Whether to go on.
bool Speculator::take(Draft& with, Choice& choice, std::span<float> logits, size_t& rows, double rate) {
  Guesses& guesses = *choice.text->guesses;
  if (find_non_finite(logits)) {
    guesses.broken_ = true;
    return false;
  }
  const size_t best = argmax(logits);
  const float likely = logits[best];
  logits[best] = std::numeric_limits<float>::lowest();
  Chance& chance = with.by_sureness[sureness(likely - logits[argmax(logits)])];
  choice.chance *= chance.value();
  if (choice.chance < rate * cost_.more(rows)) {
    if (guesses.tokens_.empty())
      for (Chance* of_all : guesses.of_draft_) of_all->learn(false);
    return false;
  }
  guesses.tokens_.push_back(static_cast<Token>(best));
  guesses.chances_.push_back(&chance);
  ++rows;
  return !guesses.trial_ && guesses.tokens_.size() < choice.chances.size() &&
         choice.chance * guesses.of_draft_[0]->value() > rate * (cost_.more(rows) + with.token(cost_));
}

}  // namespace cairn::llm
