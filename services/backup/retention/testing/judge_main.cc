// Judges versions as lines of standard input say, for tests/e2e/retention_reference_test.py. A line
// is a file: the time now, the time zone, the lifetime of what nobody confirmed, the rules
// ("last,within,hourly,daily,weekly,monthly,yearly", or "-" for no policy), then its versions,
// newest first, each "state,damaged,receive time,retain until" (the last one 0 if there is none).
// Times are seconds since 1970. The answer is a line with the reasons of each version, such as
// "last+daily", or "-" if it goes.

#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"
#include "services/backup/retention/evaluation.h"

namespace backup::retention {
namespace {

std::vector<int64_t> Numbers(absl::string_view text) {
  std::vector<int64_t> numbers;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    numbers.emplace_back();
    CHECK(absl::SimpleAtoi(part, &numbers.back())) << text;
  }
  return numbers;
}

std::optional<storage::RetentionRules> ParseRules(absl::string_view text) {
  if (text == "-") return std::nullopt;
  const std::vector<int64_t> n = Numbers(text);
  return storage::RetentionRules{
      n.at(0), absl::Seconds(n.at(1)), n.at(2), n.at(3), n.at(4), n.at(5), n.at(6)};
}

storage::VersionAge ParseVersion(absl::string_view text) {
  const std::vector<int64_t> n = Numbers(text);
  storage::VersionAge version;
  version.state = static_cast<storage::VersionState>(n.at(0));
  version.is_damaged = n.at(1) != 0;
  version.receive_time = absl::FromUnixSeconds(n.at(2));
  if (n.at(3) != 0) version.retain_until = absl::FromUnixSeconds(n.at(3));
  return version;
}

std::string Text(const Verdict& verdict) {
  if (verdict.goes()) return "-";
  return absl::StrJoin(verdict.reasons(), "+",
                       [](std::string* out, Keep keep) { absl::StrAppend(out, KeepName(keep)); });
}

std::string JudgeLine(const std::string& line) {
  const std::vector<std::string> parts = absl::StrSplit(line, ' ', absl::SkipEmpty());
  Conditions conditions;
  conditions.now = absl::FromUnixSeconds(Numbers(parts.at(0)).at(0));
  CHECK(absl::LoadTimeZone(parts.at(1), &conditions.options.timezone)) << parts[1];
  conditions.options.unconfirmed_ttl = absl::Seconds(Numbers(parts.at(2)).at(0));
  Evaluation evaluation(ParseRules(parts.at(3)), conditions);
  std::vector<std::string> verdicts;
  for (size_t i = 4; i < parts.size(); ++i)
    verdicts.push_back(Text(evaluation.Judge(ParseVersion(parts[i]))));
  return absl::StrJoin(verdicts, " ");
}

}  // namespace
}  // namespace backup::retention

int main() {
  std::string line;
  while (std::getline(std::cin, line)) std::cout << backup::retention::JudgeLine(line) << "\n";
  return 0;
}
