#include "services/backup/handlers/scrub_state.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::handlers {
namespace {

constexpr char kName[] = "scrub";

// Calls `visit` with the name of each field and its number, which it may change.
template <typename Visit>
void ForEachCount(ScrubTally& tally, absl::string_view prefix, const Visit& visit) {
  visit(absl::StrCat(prefix, "bytes"), tally.stored_bytes);
  visit(absl::StrCat(prefix, "packs"), tally.packs);
  visit(absl::StrCat(prefix, "versions"), tally.versions);
  visit(absl::StrCat(prefix, "damaged"), tally.damaged);
  visit(absl::StrCat(prefix, "missing"), tally.missing);
  visit(absl::StrCat(prefix, "unreadable"), tally.unreadable);
  visit(absl::StrCat(prefix, "orphans"), tally.orphans);
}

// All fields as numbers; of a time that is not there, 0.
struct Numbers {
  int64_t paused = 0;
  int64_t wanted = 0;
  int64_t phase = 0;
  int64_t start = 0;
  int64_t last_start = 0;
  int64_t last_end = 0;
};
template <typename Visit>
void ForEachField(Numbers& numbers, ScrubState& state, const Visit& visit) {
  visit("paused", numbers.paused);
  visit("wanted", numbers.wanted);
  visit("start", numbers.start);
  visit("phase", numbers.phase);
  visit("position", state.position);
  visit("total", state.total_steps);
  visit("done", state.done_steps);
  ForEachCount(state.tally, "", visit);
  visit("last_start", numbers.last_start);
  visit("last_end", numbers.last_end);
  ForEachCount(state.last_tally, "last_", visit);
}

int64_t MicrosOf(std::optional<absl::Time> time) { return time ? absl::ToUnixMicros(*time) : 0; }
std::optional<absl::Time> TimeOf(int64_t micros) {
  if (micros == 0) return std::nullopt;
  return absl::FromUnixMicros(micros);
}

}  // namespace

double ScrubState::progress() const {
  if (!start_time) return 1;
  if (total_steps <= 0) return 0;
  return std::min(1.0, static_cast<double>(done_steps) / static_cast<double>(total_steps));
}

absl::Time ScrubState::NextStart(absl::Duration period) const {
  return last_start_time ? *last_start_time + period : absl::InfinitePast();
}

absl::Time ScrubState::Deadline(absl::Duration period) const {
  if (start_time) return *start_time + period;
  return last_start_time ? *last_start_time + 2 * period : absl::InfiniteFuture();
}

std::string EncodeScrub(const ScrubState& state) {
  ScrubState copy = state;
  Numbers numbers{state.is_paused,
                  state.is_wanted,
                  static_cast<int64_t>(state.phase),
                  MicrosOf(state.start_time),
                  MicrosOf(state.last_start_time),
                  MicrosOf(state.last_end_time)};
  std::vector<std::string> fields;
  ForEachField(numbers, copy, [&](absl::string_view name, int64_t number) {
    fields.push_back(absl::StrCat(name, "=", number));
  });
  return absl::StrJoin(fields, " ");
}

std::optional<ScrubState> DecodeScrub(absl::string_view bytes) {
  std::map<std::string, int64_t> read;
  for (const absl::string_view field : absl::StrSplit(bytes, ' ', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    if (!absl::SimpleAtoi(parts.second, &read[std::string(parts.first)])) return std::nullopt;
  }
  ScrubState state;
  Numbers numbers;
  // What an older program did not know stays as it is by itself.
  ForEachField(numbers, state, [&](absl::string_view name, int64_t& number) {
    const auto found = read.find(std::string(name));
    if (found != read.end()) number = found->second;
  });
  const bool is_phase = numbers.phase >= static_cast<int64_t>(ScrubState::Phase::kPacks) &&
                        numbers.phase <= static_cast<int64_t>(ScrubState::Phase::kBlobs);
  if (!is_phase) return std::nullopt;
  state.is_paused = numbers.paused != 0;
  state.is_wanted = numbers.wanted != 0;
  state.phase = static_cast<ScrubState::Phase>(numbers.phase);
  state.start_time = TimeOf(numbers.start);
  state.last_start_time = TimeOf(numbers.last_start);
  state.last_end_time = TimeOf(numbers.last_end);
  return state;
}

absl::StatusOr<ScrubState> FindScrub(storage::Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const std::optional<std::string> kept, snapshot.FindStoreValue(kName));
  if (!kept) return ScrubState();
  std::optional<ScrubState> state = DecodeScrub(*kept);
  LOG_IF(ERROR, !state) << "what the catalog keeps of the job scrub is damaged: it begins anew";
  return state ? *std::move(state) : ScrubState();
}

absl::Status SaveScrub(storage::Transaction& transaction, const ScrubState& state) {
  return transaction.SetStoreValue(kName, EncodeScrub(state));
}

}  // namespace backup::handlers
