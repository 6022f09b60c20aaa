#include "bridge/wire/explain.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "backup/bridge/v1/dialect.pb.h"
#include "base/printable.h"
#include "bridge/wire/reading.h"
#include "bridge/wire/walk.h"
#include "google/protobuf/text_format.h"

namespace backup::wire {
namespace {

// Of what no dialect reads: a header, and too little of a key to be one.
constexpr size_t kShownBytes = 32;

std::string BeginningOf(const SpokenBytes& spoken, size_t begin, size_t end) {
  const absl::string_view bytes = absl::string_view(spoken.bytes).substr(begin, end - begin);
  return absl::StrCat(bytes.size(), " bytes, which begin ",
                      absl::BytesToHexString(bytes.substr(0, kShownBytes)));
}

std::string TableOf(const Reading& reading) {
  std::string table;
  for (const FieldReading& field : reading.fields) {
    std::string line = absl::StrFormat("    %8d %5d  %-13s  %-18s  %s", field.at, field.size,
                                       field.kind, field.hex, field.value);
    if (!field.remark.empty()) absl::StrAppend(&line, "  (", field.remark, ")");
    absl::StrAppend(&table, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return table;
}

std::string KindOf(const Reading& reading, bool is_answer) {
  return is_answer ? v1::AnswerKind_Name(reading.answer) : v1::RequestKind_Name(reading.kind);
}

// What a step is: the same text for two dialects means that they read it alike. `%s` stands for the
// names of the dialects.
std::string TextOf(const Step& step, bool is_answer) {
  const Reading& reading = step.reading;
  const std::string place = absl::StrCat("  ", is_answer ? "S> " : "C> ", step.at, ": ");
  if (reading.state == Reading::State::kNotItsOwn)
    return absl::StrCat(place, "not of %s: ", reading.why, "\n");
  std::string text = place;
  if (step.fits()) {
    absl::StrAppend(&text, KindOf(reading, is_answer), ", ", step.size, " bytes, by %s\n");
  } else {
    absl::StrAppend(&text, step.stops() ? "does not fit %s\n" : "cut, by %s\n");
  }
  absl::StrAppend(&text, TableOf(reading));
  for (const std::string& note : step.notes) absl::StrAppend(&text, "    ", note, "\n");
  const bool is_cut = reading.state == Reading::State::kCut;
  const std::string why = reading.fits() ? step.wrong
                          : is_cut       ? absl::StrCat("the capture ends ", reading.why)
                                         : reading.why;
  if (!why.empty()) absl::StrAppend(&text, "    => ", why, "\n");
  return text;
}

// Whose requests these are not, the answers are not either.
bool IsOwn(const Walk& walk) { return walk.requests.empty() || walk.requests[0].fits(); }

}  // namespace

struct Explainer::Impl {
  struct Entry {
    std::string name;
    v1::Dialect dialect;
    size_t fitting = 0;
  };

  bool Explain(const Conversation& conversation, std::ostream& out);
  // From one place on, until no dialect goes on. Returns where to go on instead; nothing if it came
  // to the end.
  std::optional<Conversation::Turn> ExplainSection(const Conversation& conversation,
                                                   Conversation::Turn from, std::ostream& out);
  void Print(const Conversation& conversation, const std::vector<Walk>& walks, std::ostream& out);
  // The steps at one place, those that are alike together.
  void PrintSteps(const std::vector<std::pair<size_t, const Step*>>& steps, bool is_answer,
                  std::ostream& out);
  std::string NamesOf(const std::vector<size_t>& indexes) const {
    return absl::StrJoin(indexes, ", ", [this](std::string* text, size_t i) {
      absl::StrAppend(text, entries[i].name);
    });
  }

  std::vector<Entry> entries;
  std::vector<bool> fit;  // Those that fit the conversation so far.
  size_t conversations = 0;
  size_t without = 0;  // Conversations that no dialect fits.
};

bool Explainer::Impl::Explain(const Conversation& conversation, std::ostream& out) {
  ++conversations;
  fit.assign(entries.size(), true);
  const std::string name = absl::StrCat("connection ", conversations);
  out << name;
  if (!conversation.name.empty() && conversation.name != name) out << ": " << conversation.name;
  out << "\n";
  for (const std::string& remark : conversation.remarks) out << "  note: " << remark << "\n";
  std::optional<Conversation::Turn> from = Conversation::Turn{};
  while (from) from = ExplainSection(conversation, *from, out);
  std::vector<size_t> fitting;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!fit[i]) continue;
    ++entries[i].fitting;
    fitting.push_back(i);
  }
  if (fitting.empty()) ++without;
  out << (fitting.empty() ? "  => it fits no dialect"
                          : absl::StrCat("  => it fits ", NamesOf(fitting)))
      << "\n\n";
  return !fitting.empty();
}

std::optional<Conversation::Turn> Explainer::Impl::ExplainSection(const Conversation& conversation,
                                                                  Conversation::Turn from,
                                                                  std::ostream& out) {
  std::vector<Walk> walks;
  size_t end = from.client_end;
  bool some_go_on = false;
  for (const Entry& entry : entries) {
    walks.push_back(WalkRequests(entry.dialect, conversation, from.client_end));
    end = std::max(end, walks.back().requests_end);
    some_go_on |= walks.back().goes_on;
  }
  // Where the client speaks again after the server did.
  const std::vector<Conversation::Turn>& turns = conversation.turns;
  const auto turn = std::partition_point(
      turns.begin(), turns.end(), [&](const auto& earlier) { return earlier.client_end <= end; });
  std::optional<Conversation::Turn> next;
  if (!some_go_on && turn != turns.end() && turn + 1 != turns.end()) next = *turn;
  size_t answers_end = from.server_end;
  const size_t server_end = next ? next->server_end : conversation.server.bytes.size();
  for (size_t i = 0; i < entries.size(); ++i) {
    WalkAnswers(entries[i].dialect, conversation, from.server_end, server_end, walks[i]);
    if (walks[i].requests_stop || walks[i].answers_differ) fit[i] = false;
    if (IsOwn(walks[i])) answers_end = std::max(answers_end, walks[i].answers_end);
  }
  Print(conversation, walks, out);
  if (some_go_on) return std::nullopt;
  const size_t client_end = next ? next->client_end : conversation.client.bytes.size();
  out << "  no dialect goes on at " << end << ": passed over are the client's "
      << BeginningOf(conversation.client, end, client_end);
  if (answers_end < server_end) {
    out << ", and the server's " << BeginningOf(conversation.server, answers_end, server_end);
  }
  out << "\n";
  return next;
}

void Explainer::Impl::Print(const Conversation& conversation, const std::vector<Walk>& walks,
                            std::ostream& out) {
  using Steps = std::map<size_t, std::vector<std::pair<size_t, const Step*>>>;
  Steps requests;
  Steps answers;
  for (size_t i = 0; i < walks.size(); ++i) {
    for (const Step& step : walks[i].requests) requests[step.at].emplace_back(i, &step);
    if (!IsOwn(walks[i])) continue;
    for (const Step& step : walks[i].answers) answers[step.at].emplace_back(i, &step);
  }
  auto request = requests.begin();
  for (const auto& [begin, steps] : answers) {
    const auto turn = std::partition_point(
        conversation.turns.begin(), conversation.turns.end(),
        [at = begin](const auto& earlier) { return earlier.server_end <= at; });
    for (; request != requests.end() && request->first < turn->client_end; ++request) {
      PrintSteps(request->second, /*is_answer=*/false, out);
    }
    PrintSteps(steps, /*is_answer=*/true, out);
  }
  for (; request != requests.end(); ++request) {
    PrintSteps(request->second, /*is_answer=*/false, out);
  }
}

void Explainer::Impl::PrintSteps(const std::vector<std::pair<size_t, const Step*>>& steps,
                                 bool is_answer, std::ostream& out) {
  // What fits first, then what comes close.
  struct Group {
    int rank;
    std::string text;
    std::vector<size_t> indexes;
  };
  std::vector<Group> groups;
  for (const auto& [index, step] : steps) {
    if (step->is_usual_packet) continue;
    std::string text = TextOf(*step, is_answer);
    const auto same = std::find_if(groups.begin(), groups.end(),
                                   [&](const Group& group) { return group.text == text; });
    if (same != groups.end()) {
      same->indexes.push_back(index);
      continue;
    }
    const bool is_own = step->reading.state != Reading::State::kNotItsOwn;
    groups.push_back({step->fits() ? 0 : is_own ? 1 : 2, std::move(text), {index}});
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) { return a.rank < b.rank; });
  for (const auto& [rank, text, indexes] : groups) {
    const size_t names = text.find("%s");
    out << text.substr(0, names) << NamesOf(indexes) << text.substr(names + 2);
  }
}

Explainer::Explainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Explainer::~Explainer() = default;
Explainer::Explainer(Explainer&&) noexcept = default;
Explainer& Explainer::operator=(Explainer&&) noexcept = default;

absl::StatusOr<Explainer> Explainer::Make(const std::vector<Description>& descriptions) {
  auto impl = std::make_unique<Impl>();
  for (const Description& description : descriptions) {
    Impl::Entry entry;
    entry.name = Printable(description.name);
    if (!google::protobuf::TextFormat::ParseFromString(description.text, &entry.dialect))
      return absl::InvalidArgumentError(absl::StrCat(entry.name, " is no dialect"));
    impl->entries.push_back(std::move(entry));
  }
  return Explainer(std::move(impl));
}

bool Explainer::Explain(const Conversation& conversation, std::ostream& out) {
  return impl_->Explain(conversation, out);
}

void Explainer::Summarize(std::ostream& out) const {
  out << impl_->conversations << " connections";
  for (const Impl::Entry& entry : impl_->entries) {
    if (entry.fitting > 0) out << "; " << entry.name << " fits " << entry.fitting;
  }
  if (impl_->without > 0) out << "; " << impl_->without << " fit no dialect";
  out << "\n";
}

}  // namespace backup::wire
