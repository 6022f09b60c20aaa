#include "services/backup/handlers/key_retirement.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::handlers {
namespace {

constexpr char kName[] = "key_retirement";
// Each look at the metrics may meet what is to be complained of.
constexpr int kComplaintSeconds = 3600;

// The infinite past is the epoch.
int64_t ToMicros(absl::Time time) {
  return time == absl::InfinitePast() ? 0 : absl::ToUnixMicros(time);
}

bool FromMicros(absl::string_view text, absl::Time& time) {
  int64_t micros = 0;
  if (!absl::SimpleAtoi(text, &micros)) return false;
  time = micros == 0 ? absl::InfinitePast() : absl::FromUnixMicros(micros);
  return true;
}

}  // namespace

std::string EncodeRetirement(const KeyRetirement& retirement) {
  return absl::StrCat(
      "generations=", absl::StrJoin(retirement.generations, ","),
      "\nphase=", static_cast<int>(retirement.phase), "\nposition=", retirement.position,
      "\nresealed=", retirement.resealed, "\nleft=", retirement.left,
      "\nfirst_left=", absl::StrReplaceAll(retirement.first_left, {{"\n", " "}}),
      "\nrounds=", retirement.rounds, "\nnext_round=", ToMicros(retirement.next_round_time),
      "\nprogress=", ToMicros(retirement.progress_time), "\n");
}

std::optional<KeyRetirement> DecodeRetirement(absl::string_view text) {
  std::map<absl::string_view, absl::string_view> fields;
  for (const absl::string_view field : absl::StrSplit(text, '\n', absl::SkipEmpty()))
    fields.insert(absl::StrSplit(field, absl::MaxSplits('=', 1)));
  KeyRetirement retirement;
  for (const absl::string_view each :
       absl::StrSplit(fields["generations"], ',', absl::SkipEmpty())) {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(each, &number)) return std::nullopt;
    retirement.generations.insert(number);
  }
  int phase = 0;
  const bool is_right = absl::SimpleAtoi(fields["phase"], &phase) &&
                        phase >= static_cast<int>(KeyRetirement::Phase::kSecret) &&
                        phase <= static_cast<int>(KeyRetirement::Phase::kRemoval) &&
                        absl::SimpleAtoi(fields["resealed"], &retirement.resealed) &&
                        absl::SimpleAtoi(fields["left"], &retirement.left) &&
                        absl::SimpleAtoi(fields["rounds"], &retirement.rounds) &&
                        FromMicros(fields["next_round"], retirement.next_round_time) &&
                        FromMicros(fields["progress"], retirement.progress_time);
  if (!is_right) return std::nullopt;
  retirement.phase = static_cast<KeyRetirement::Phase>(phase);
  retirement.position = std::string(fields["position"]);
  retirement.first_left = std::string(fields["first_left"]);
  return retirement;
}

absl::StatusOr<KeyRetirement> FindRetirement(storage::Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const std::optional<std::string> kept, snapshot.FindStoreValue(kName));
  if (!kept) return KeyRetirement();
  std::optional<KeyRetirement> retirement = DecodeRetirement(*kept);
  if (!retirement) {
    LOG_EVERY_T(ERROR, kComplaintSeconds)
        << "what the catalog keeps of the job retire is damaged, or of a newer "
           "program: tell it again which generations of keys are to go";
  }
  return retirement ? *std::move(retirement) : KeyRetirement();
}

absl::StatusOr<bool> IsRetirementUnreadable(storage::Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const std::optional<std::string> kept, snapshot.FindStoreValue(kName));
  return kept && !DecodeRetirement(*kept);
}

absl::Status SaveRetirement(storage::Transaction& transaction, const KeyRetirement& retirement) {
  return transaction.SetStoreValue(kName, EncodeRetirement(retirement));
}

}  // namespace backup::handlers
