#include "crypto/sha256.h"

#include <string>

#include "absl/strings/escaping.h"
#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

std::string HexOf(absl::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return absl::BytesToHexString(hash.Finish());
}

// FIPS 180-2, appendix B, and the empty message.
TEST(Sha256, HasItsKnownValues) {
  EXPECT_EQ(HexOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HexOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(HexOf(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnWhereTheBytesAreCut) {
  const std::string bytes = testing::PseudoRandomBytes(10000);
  testing::RandomCutSource source(bytes, 200);
  Sha256 hash;
  for (absl::string_view piece = *source.Read(); !piece.empty(); piece = *source.Read()) {
    hash.Update(piece);
  }
  EXPECT_EQ(absl::BytesToHexString(hash.Finish()), HexOf(bytes));
}

}  // namespace
}  // namespace backup::crypto
