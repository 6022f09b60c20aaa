// Stands in for libFuzzer, where the compiler has none or nothing new is to be found: tries each
// input of the files and folders given, and some damaged forms of it, the same ones every time. A
// file *.txt is a transcript (tests/testdata/wire): its input is what the client sent, of which
// every prefix is tried, too.
//
//   PROGRAM [--damaged=N] PATH...         tries them, with N damaged forms of each, 16 if not told
//   PROGRAM --write_corpus=FOLDER PATH... writes the inputs of transcripts

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

constexpr unsigned kMostChanges = 8;

struct Sample {
  std::string name;
  std::string bytes;
  bool is_transcript = false;
};

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  CHECK(in.good()) << "cannot read " << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string ClientsBytes(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::string bytes;
  for (std::string line; std::getline(in, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "C> ")) bytes += *backup::HexToBytes(rest);
  }
  CHECK(!bytes.empty()) << path << " is no transcript";
  return bytes;
}

// In an order that does not depend on the file system.
std::vector<Sample> SamplesOf(const std::vector<std::string>& paths) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Sample> samples;
  for (const std::filesystem::path& file : files) {
    const bool is_transcript = file.extension() == ".txt";
    samples.push_back(
        {file.stem(), is_transcript ? ClientsBytes(file) : ReadFile(file), is_transcript});
  }
  return samples;
}

void Replay(const Sample& sample, int damaged_forms, std::mt19937& random) {
  backup::fuzz::TryInput(sample.bytes);
  for (size_t size = 0; sample.is_transcript && size < sample.bytes.size(); ++size)
    backup::fuzz::TryInput(absl::string_view(sample.bytes).substr(0, size));
  for (int form = 0; form < damaged_forms && !sample.bytes.empty(); ++form) {
    std::string damaged = sample.bytes;
    for (auto changes = 1 + random() % kMostChanges; changes > 0; --changes)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    backup::fuzz::TryInput(damaged);
  }
}

// A target that ends the process keeps its promises as little as one that crashes.
bool is_done = false;
void CheckIsDone() { CHECK(is_done) << "a target ended the process"; }

}  // namespace

int main(int argc, char** argv) {
  FLAGS_minloglevel = google::GLOG_FATAL;
  int damaged_forms = 16;
  std::string corpus;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--write_corpus=")) {
      corpus = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--damaged=")) {
      CHECK(absl::SimpleAtoi(argument, &damaged_forms)) << argv[i];
    } else {
      paths.emplace_back(argument);
    }
  }
  const std::vector<Sample> samples = SamplesOf(paths);
  CHECK(!samples.empty()) << "nothing to replay";
  std::mt19937 random(1);
  std::atexit(&CheckIsDone);
  for (const Sample& sample : samples) {
    if (corpus.empty()) {
      Replay(sample, damaged_forms, random);
    } else {
      std::ofstream(absl::StrCat(corpus, "/", sample.name), std::ios::binary) << sample.bytes;
    }
  }
  is_done = true;
  std::cout << samples.size() << " inputs\n";
  return 0;
}
