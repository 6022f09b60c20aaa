#pragma once

#include <optional>
#include <string>
#include <vector>

namespace backup::bench {

enum class Bound { kAtLeast, kAtMost };

struct Target {
  Bound bound = Bound::kAtLeast;
  double value = 0;
};

// One measured figure.
struct Figure {
  std::string group;
  std::string name;
  double value = 0;
  std::string unit;
  std::optional<Target> target;
  std::optional<double> limit;  // What the machine can do at best, measured in the same run.
};

bool MeetsTarget(const Figure& figure);

// As a table to read: a line for each figure under its group, with its target if it has one.
std::string ToTable(const std::vector<Figure>& figures);

// As one JSON object a line.
std::string ToJsonLines(const std::vector<Figure>& figures);

}  // namespace backup::bench
