#include "tests/bench/generation_maker.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "tests/bench/child_process.h"

namespace backup::bench {
namespace {

constexpr int kWords = 3000;
constexpr int kSources = 3000;
constexpr int kFolders = 60;
constexpr int64_t kMeanSourceSize = 10 << 10;
constexpr int kPercentPerDay = 2;
constexpr int kMovedPerDay = kSources / 200;
constexpr int kComingPerDay = 5;
constexpr int kRows = 60'000;
constexpr int kUpdatedRowsPerDay = 400;
constexpr int kAddedRowsPerDay = 300;
constexpr size_t kFirstLogSize = 4 << 20;
constexpr size_t kLogPerDay = 1 << 20;
constexpr int64_t kImageSize = 64 << 20;
constexpr int64_t kExtentSize = 64 << 10;
constexpr int64_t kPageSize = 4 << 10;
constexpr int kPagesPerDay = 24;
constexpr int kFirstPhotographs = 12;
constexpr int kPhotographsPerDay = 2;
constexpr size_t kPhotographSize = 5 << 19;

std::string RandomBytes(std::mt19937_64& random, size_t size) {
  std::vector<uint64_t> numbers(size / sizeof(uint64_t));
  std::generate(numbers.begin(), numbers.end(), std::ref(random));
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(uint64_t)};
}

void Append(const std::string& path, absl::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::app) << bytes;
}

std::vector<std::string> ReadLines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line + "\n");
  return lines;
}

absl::Status Execute(sqlite3* database, const std::string& sql) {
  if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK)
    return absl::OkStatus();
  return absl::InternalError(absl::StrCat("a generation's database: ", sqlite3_errmsg(database)));
}

}  // namespace

TextMaker::TextMaker(uint64_t seed) : random_(seed) {
  constexpr std::array kSyllables = {"ba",  "con", "de", "er",  "fi", "get", "han", "in",
                                     "ke",  "lo",  "me", "nod", "or", "per", "qu",  "re",
                                     "set", "ta",  "un", "va",  "wr", "ex",  "y",   "ze"};
  for (int i = 0; i < kWords; ++i) {
    std::string word;
    for (uint64_t left = 1 + random_() % 4; left > 0; --left)
      word += kSyllables[random_() % kSyllables.size()];
    words_.push_back(std::move(word));
  }
}

std::string TextMaker::Line() {
  constexpr std::array kBetween = {" ", " ", ".", "(", ", ", ") ", " = ", "->", "::", "_"};
  std::string line(2 * (random_() % 5), ' ');
  for (uint64_t left = 1 + random_() % 9; left > 0; --left) {
    // The square of a number between 0 and 1: small ones are frequent.
    const double at = static_cast<double>(random_() % 4096) / 4096;
    line += words_[static_cast<size_t>(at * at * at * kWords)];
    line += kBetween[random_() % kBetween.size()];
  }
  return line += ";\n";
}

std::string TextMaker::Lines(size_t size) {
  std::string lines;
  while (lines.size() < size) lines += Line();
  return lines;
}

std::vector<std::string> WriteSourceTree(TextMaker& text, const std::string& dir, int count) {
  std::exponential_distribution<double> sizes(1.0 / kMeanSourceSize);
  std::vector<std::string> paths;
  for (int i = 0; i < count; ++i) {
    const std::string folder = absl::StrFormat("%s/part%02d", dir, i % kFolders);
    std::filesystem::create_directories(folder);
    paths.push_back(absl::StrFormat("%s/file%04d.cc", folder, i));
    Append(paths.back(), text.Lines(static_cast<size_t>(sizes(text.random()))));
  }
  return paths;
}

absl::Status GenerationMaker::MakeNext() {
  RETURN_IF_ERROR(std::exchange(is_first_, false) ? MakeFirst() : ChangeAll());
  return MakeArchive();
}

absl::Status GenerationMaker::MakeFirst() {
  sources_ = WriteSourceTree(text_, absl::StrCat(dir_, "/src"), kSources);
  Append(absl::StrCat(dir_, "/service.log"), text_.Lines(kFirstLogSize));
  for (int64_t at = 0; at < kImageSize; at += kExtentSize) {
    const auto size = static_cast<size_t>(kExtentSize);
    const uint64_t kind = Below(4);  // Unused, text or what does not shrink.
    Append(absl::StrCat(dir_, "/disk.img"), kind == 0   ? std::string(size, '\0')
                                            : kind == 1 ? RandomBytes(text_.random(), size)
                                                        : text_.Lines(size).substr(0, size));
  }
  AddPhotographs(kFirstPhotographs);
  return ChangeDatabase(/*updated_rows=*/0, kRows);
}

absl::Status GenerationMaker::ChangeAll() {
  ChangeSources();
  Append(absl::StrCat(dir_, "/service.log"), text_.Lines(kLogPerDay));
  ChangeImage(kPagesPerDay);
  AddPhotographs(kPhotographsPerDay);
  return ChangeDatabase(kUpdatedRowsPerDay, kAddedRowsPerDay);
}

void GenerationMaker::ChangeSources() {
  for (size_t left = sources_.size() * kPercentPerDay / 100; left > 0; --left)
    EditSource(sources_[Below(sources_.size())]);
  for (int i = 0; i < kMovedPerDay; ++i) {
    std::string& path = sources_[Below(sources_.size())];
    const std::string to =
        absl::StrFormat("%s/src/part%02d/moved%04d.cc", dir_, Below(kFolders), ++new_files_);
    std::filesystem::rename(path, to);
    path = to;
  }
  for (int i = 0; i < kComingPerDay; ++i) {
    std::swap(sources_[Below(sources_.size())], sources_.back());
    std::filesystem::remove(sources_.back());
    sources_.back() =
        absl::StrFormat("%s/src/part%02d/new%04d.cc", dir_, Below(kFolders), ++new_files_);
    Append(sources_.back(), text_.Lines(kMeanSourceSize));
  }
}

// Some lines go, others come.
void GenerationMaker::EditSource(const std::string& path) {
  std::vector<std::string> lines = ReadLines(path);
  for (uint64_t edits = 1 + Below(5); edits > 0; --edits) {
    const auto at = static_cast<ptrdiff_t>(Below(lines.size() + 1));
    const auto end = std::min<ptrdiff_t>(std::ssize(lines), at + static_cast<ptrdiff_t>(Below(4)));
    lines.erase(lines.begin() + at, lines.begin() + end);
    for (uint64_t added = Below(6); added > 0; --added)
      lines.insert(lines.begin() + at, text_.Line());
  }
  std::ofstream file(path, std::ios::binary);
  for (const std::string& line : lines) file << line;
}

absl::Status GenerationMaker::ChangeDatabase(int updated_rows, int added_rows) {
  sqlite3* database = nullptr;
  const absl::Cleanup close = [&] { sqlite3_close(database); };
  if (sqlite3_open(absl::StrCat(dir_, "/records.db").c_str(), &database) != SQLITE_OK)
    return absl::InternalError("cannot open a generation's database");
  std::string sql =
      "PRAGMA synchronous = OFF; CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, state "
      "INTEGER, note TEXT);"
      "BEGIN;";
  for (int i = 0; i < added_rows; ++i) {
    absl::StrAppend(&sql, "INSERT INTO records VALUES (", ++rows_, ", 0, '", text_.Lines(200),
                    "');");
  }
  for (int i = 0; i < updated_rows; ++i) {
    // Most are about what is recent.
    const auto rows = static_cast<uint64_t>(rows_);
    const uint64_t row = i % 5 != 0 ? rows - Below(rows / 20) : 1 + Below(rows);
    absl::StrAppend(&sql, "UPDATE records SET state = state + 1, note = substr('", text_.Line(),
                    "' || note, 1, length(note)) WHERE id = ", row, ";");
  }
  return Execute(database, absl::StrCat(sql, "COMMIT;"));
}

void GenerationMaker::ChangeImage(int pages) {
  std::fstream image(absl::StrCat(dir_, "/disk.img"),
                     std::ios::binary | std::ios::in | std::ios::out);
  for (int i = 0; i < pages; ++i) {
    image.seekp(static_cast<std::streamoff>(Below(kImageSize / kPageSize)) * kPageSize);
    image << text_.Lines(kPageSize).substr(0, kPageSize);
  }
}

void GenerationMaker::AddPhotographs(int count) {
  std::filesystem::create_directories(absl::StrCat(dir_, "/photographs"));
  for (int i = 0; i < count; ++i) {
    Append(absl::StrFormat("%s/photographs/%03d.jpg", dir_, ++photographs_),
           RandomBytes(text_.random(), kPhotographSize));
  }
}

absl::Status GenerationMaker::MakeArchive() {
  const std::string archive = absl::StrCat(dir_, "/src.tar");
  ASSIGN_OR_RETURN(ChildProcess tar,
                   ChildProcess::Start({"/usr/bin/tar", "--sort=name", "--mtime=@0", "--owner=0",
                                        "--group=0", absl::StrCat("--directory=", dir_), "--create",
                                        absl::StrCat("--file=", archive), "src"},
                                       "/dev/null", "/dev/null"));
  double cpu_seconds = 0;
  if (const int exit_code = tar.WaitForEnd(&cpu_seconds); exit_code != 0)
    return absl::InternalError(absl::StrCat("tar ended with ", exit_code));
  return absl::OkStatus();
}

}  // namespace backup::bench
