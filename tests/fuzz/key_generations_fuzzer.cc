// The file of key generations, and what the ring of keys opens: a text is what was written, or
// refused; and no bytes open but those that were sealed, in the context that they were sealed for.

#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "crypto/key_generations.h"
#include "crypto/key_ring.h"
#include "crypto/master_key.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using namespace crypto;  // NOLINT: all of it.

const MasterKey& Master() {
  static const MasterKey& key = *new MasterKey(std::string(32, 'm'));
  return key;
}

MasterKeys Masters() {
  MasterKeys keys;
  keys.current = std::make_unique<MasterKey>(std::string(32, 'x'));
  keys.origin = "a file";
  keys.old.push_back(std::make_unique<MasterKey>(std::string(32, 'm')));
  return keys;
}

void TryText(const std::string& text) {
  const auto generations = ParseGenerations(text);
  if (!generations.ok()) {
    CHECK(ReasonOf(generations.status()) == Reason::kStateCorrupt);
    return;
  }
  CHECK_LE(generations->size(), kMaxKeyGenerations);
  CHECK(*ParseGenerations(EncodeGenerations(*generations)) == *generations);
  KeyRing ring;
  const absl::Status added = AddGenerations(*generations, Masters().Copy(), ring);
  if (added.ok()) {
    for (const KeyGeneration& generation : *generations)
      CHECK_EQ(ring.KeyOf(generation.number).size(), 32u);
  }
}

// A right sum behind it, which no fuzzer finds.
std::string WithSum(absl::string_view lines) {
  const std::string text = absl::StrCat("backup key generations 1\n", lines);
  Sha256 hash;
  hash.Update(text);
  return absl::StrCat(text, "sum ", absl::BytesToHexString(hash.Finish().substr(0, 8)), "\n");
}

void TryGenerations(Input& input) {
  std::vector<KeyGeneration> generations;
  uint32_t number = 0;
  while (!input.AtEnd() && generations.size() < 20) {
    const absl::Time time =
        absl::FromUnixSeconds(static_cast<int64_t>(input.Uint(input.Flag() ? 8 : 4)));
    generations.push_back(WrapGeneration(number, time, input.Exactly(32), Master()));
    number += 1 + static_cast<uint32_t>(input.Uint(3));
  }
  CHECK(*ParseGenerations(EncodeGenerations(generations)) == generations);
  KeyRing ring;
  CHECK(AddGenerations(generations, Masters(), ring).ok());
}

void TryRing(Input& input) {
  KeyRing ring;
  ring.Add(0, std::string(32, 'a'));
  if (input.Flag()) ring.Add(7, std::string(32, 'b'));
  const std::string context(input.Text(40));
  const std::string secret(input.Text(100));
  const std::string sealed = ring.Seal(secret, context);
  CHECK(*ring.Open(sealed, context) == secret);
  CHECK_EQ(ring.GenerationOf(sealed, context), *ring.newest());
  CHECK(!ring.Open(sealed, context + "x").ok());
  std::string damaged = sealed;
  damaged[input.Below(damaged.size())] ^= static_cast<char>(1 + input.Below(255));
  const auto opened = ring.Open(damaged, context);
  CHECK(ReasonOf(opened.status()) == Reason::kBlobDamaged ||
        ReasonOf(opened.status()) == Reason::kKeyMissing);
  const bool has_header = input.Flag();
  const std::string any = absl::StrCat(has_header ? "BKG1" : "", input.Rest());
  CHECK(!ring.Open(any, context).ok());
  (void)ring.GenerationOf(any, context);
  const uint32_t newest = *ring.newest();
  const uint64_t before = ring.NextUse();
  {
    const KeyRing::Use use(ring);
    CHECK(ring.HaveEnded(before) && !ring.HaveEnded(ring.NextUse()));
    CHECK_GE(ring.LongestUse(), absl::ZeroDuration());
  }
  CHECK(ring.HaveEnded(ring.NextUse()) && ring.LongestUse() == absl::ZeroDuration());
  ring.Remove(newest);
  CHECK(!ring.Has(newest) && !ring.Open(sealed, context).ok());
}

// A file of any content.
void TryFile(const std::string& text) {
  const UniqueFd file(::memfd_create("generations", MFD_CLOEXEC));
  CHECK_EQ(::write(file.get(), text.data(), text.size()), std::ssize(text));
  const auto read = ReadGenerationsFile(absl::StrCat("/proc/self/fd/", file.get()));
  CHECK(read.ok() && *read == text) << read.status();
  CHECK(absl::IsNotFound(ReadGenerationsFile("/proc/self/fd/nothing").status()));
}

void TryMasterKey(const std::string& text) {
  const auto key = MasterKey::Parse(text, "a file");
  if (key.ok()) CHECK_EQ((*key)->bytes().size(), 32u);
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  switch (input.Below(6)) {
    case 0:
      return TryText(std::string(input.Rest()));
    case 1:
      return TryText(WithSum(input.Rest()));
    case 2:
      return TryGenerations(input);
    case 3:
      return TryRing(input);
    case 4:
      return TryFile(std::string(input.Rest()));
    default:
      return TryMasterKey(std::string(input.Rest()));
  }
}

}  // namespace backup::fuzz
