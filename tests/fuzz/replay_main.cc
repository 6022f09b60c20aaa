// Stands in for libFuzzer: the client's side of each transcript given, as one stream, and every
// prefix and some damaged forms of it.

#include <fstream>
#include <iostream>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/hex.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kDamagedForms = 2000;

void Feed(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

std::string ClientsBytes(const char* path) {
  std::ifstream in(path);
  std::string bytes;
  for (std::string line; std::getline(in, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "C> ")) bytes += *backup::HexToBytes(rest);
  }
  return bytes;
}

// Feeds the stream itself, every prefix of it, and some damaged forms.
void Replay(const std::string& bytes, std::mt19937& random) {
  for (size_t size = 0; size <= bytes.size(); ++size) Feed(bytes.substr(0, size));
  for (int form = 0; form < kDamagedForms; ++form) {
    std::string damaged = bytes;
    for (int change = 0; change < 8; ++change)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    Feed(damaged);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::mt19937 random(1);
  absl::string_view corpus = argc > 1 ? argv[1] : "";
  const bool writes = absl::ConsumePrefix(&corpus, "--write_corpus=");
  for (int i = writes ? 2 : 1; i < argc; ++i) {
    const std::string bytes = ClientsBytes(argv[i]);
    if (bytes.empty()) {
      std::cerr << argv[i] << " is no transcript\n";
      return 1;
    }
    if (writes) {
      std::ofstream(absl::StrCat(corpus, "/", i), std::ios::binary) << bytes;
    } else {
      Replay(bytes, random);
    }
    std::cout << argv[i] << ": " << bytes.size() << " bytes\n";
  }
  return argc > 1 ? 0 : 1;
}
