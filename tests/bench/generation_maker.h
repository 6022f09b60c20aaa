#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace backup::bench {

// Writes lines that shrink as source text does: words of a vocabulary, some of which are frequent.
// Used by one thread at a time.
class TextMaker {
 public:
  explicit TextMaker(uint64_t seed);

  // One line, with its end.
  std::string Line();
  // Lines, `size` bytes at least.
  std::string Lines(size_t size);
  std::mt19937_64& random() { return random_; }

 private:
  std::mt19937_64 random_;
  std::vector<std::string> words_;
};

// Fills the folder `dir` with `count` files of source text, 10 KiB each on average, and returns
// their paths.
std::vector<std::string> WriteSourceTree(TextMaker& text, const std::string& dir, int count);

// A folder as people back it up day after day, always the same: a source tree, a database whose
// rows are updated in place, a log that grows, an image of which pages change, photographs, and a
// tar of the source tree. Used by one thread at a time.
class GenerationMaker {
 public:
  explicit GenerationMaker(std::string dir) : dir_(std::move(dir)) {}

  // The first day; then what one more day changes: 2 % of the source files, some more are moved,
  // some come and go.
  absl::Status MakeNext();

 private:
  absl::Status MakeFirst();
  absl::Status ChangeAll();
  void ChangeSources();
  void EditSource(const std::string& path);
  absl::Status ChangeDatabase(int updated_rows, int added_rows);
  void ChangeImage(int pages);
  void AddPhotographs(int count);
  absl::Status MakeArchive();
  uint64_t Below(uint64_t bound) { return text_.random()() % bound; }

  const std::string dir_;
  TextMaker text_{/*seed=*/17};
  bool is_first_ = true;
  std::vector<std::string> sources_;
  int new_files_ = 0;
  int photographs_ = 0;
  int rows_ = 0;
};

}  // namespace backup::bench
