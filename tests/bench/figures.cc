#include "tests/bench/figures.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace backup::bench {
namespace {

// Enough digits to compare, no more.
std::string Number(double value) {
  return absl::StrFormat(value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
}

}  // namespace

bool MeetsTarget(const Figure& figure) {
  if (!figure.target) return true;
  return figure.target->bound == Bound::kAtLeast ? figure.value >= figure.target->value
                                                 : figure.value <= figure.target->value;
}

std::string ToTable(const std::vector<Figure>& figures) {
  std::string table;
  std::string group;
  for (const Figure& figure : figures) {
    if (figure.group != group)
      absl::StrAppend(&table, group.empty() ? "" : "\n", figure.group, "\n");
    group = figure.group;
    absl::StrAppendFormat(&table, "  %-46s %9s %-10s", figure.name, Number(figure.value),
                          figure.unit);
    if (figure.limit) {
      absl::StrAppendFormat(&table, " limit %s, ratio %s", Number(*figure.limit),
                            Number(figure.value / *figure.limit));
    }
    if (figure.target) {
      absl::StrAppendFormat(&table, " target %s %s: %s",
                            figure.target->bound == Bound::kAtLeast ? "at least" : "at most",
                            Number(figure.target->value), MeetsTarget(figure) ? "met" : "MISSED");
    }
    absl::StrAppend(&table, "\n");
  }
  return table;
}

std::string ToJsonLines(const std::vector<Figure>& figures) {
  std::string lines;
  for (const Figure& figure : figures) {
    nlohmann::ordered_json line = {{"group", figure.group},
                                   {"name", figure.name},
                                   {"value", figure.value},
                                   {"unit", figure.unit}};
    if (figure.limit) line["limit"] = *figure.limit;
    if (figure.target) {
      line[figure.target->bound == Bound::kAtLeast ? "at_least" : "at_most"] = figure.target->value;
      line["met"] = MeetsTarget(figure);
    }
    absl::StrAppend(&lines, line.dump(), "\n");
  }
  return lines;
}

}  // namespace backup::bench
