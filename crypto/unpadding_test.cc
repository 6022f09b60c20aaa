#include "crypto/unpadding.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;

// Its plaintext is what comes, the last byte of it at the end.
class NoCipher final : public Decryptor {
 public:
  absl::StatusOr<size_t> Update(absl::string_view piece, char* out) override {
    const std::string plain = absl::StrCat(last_, piece.substr(0, piece.size() - 1));
    last_ = std::string(piece.substr(piece.size() - 1));
    return plain.copy(out, plain.size());
  }
  absl::StatusOr<size_t> Finish(char* out) override { return last_.copy(out, last_.size()); }

 private:
  std::string last_;
};

using Padding = CbcFormat::Padding;

absl::StatusOr<std::string> Unpad(const std::string& padded, int64_t plain_size, size_t step,
                                  Padding padding = Padding::kZeros) {
  UnpaddingDecryptor decryptor(std::make_unique<NoCipher>(), plain_size, padding);
  std::string plain;
  char out[100];
  for (size_t at = 0; at < padded.size(); at += step) {
    ASSIGN_OR_RETURN(const size_t size, decryptor.Update(padded.substr(at, step), out));
    plain.append(out, size);
  }
  ASSIGN_OR_RETURN(const size_t size, decryptor.Finish(out));
  return plain.append(out, size);
}

TEST(UnpaddingDecryptor, CutsUpToFifteenZeroBytesOffTheEnd) {
  const std::string content("con\0tent\0", 9);
  for (const size_t zeros : {0, 1, 14, 15}) {
    for (const size_t step : {1, 2, 5, 50}) {
      EXPECT_THAT(Unpad(content + std::string(zeros, '\0'), 9, step), IsOkAndHolds(content));
    }
  }
}

TEST(UnpaddingDecryptor, RefusesMoreZeroBytesAndAnyOther) {
  for (const size_t step : {1, 2, 5, 50}) {
    EXPECT_THAT(Unpad("content" + std::string(16, '\0'), 7, step),
                HasReason(Reason::kContentRejected));
    EXPECT_EQ(Unpad("content", 6, step).status(), ContentRejected());
    EXPECT_EQ(Unpad(std::string("content\0\1\0", 10), 7, step).status(), ContentRejected());
  }
}

TEST(UnpaddingDecryptor, CutsUpToFifteenBytesOfAnyValueOffTheEnd) {
  for (const size_t step : {1, 2, 5, 50}) {
    for (const size_t surplus : {0, 1, 15}) {
      EXPECT_THAT(Unpad("content" + std::string(surplus, 'x'), 7, step, Padding::kPkcs7AndSurplus),
                  IsOkAndHolds("content"));
    }
    EXPECT_THAT(Unpad("content" + std::string(16, 'x'), 7, step, Padding::kPkcs7AndSurplus),
                HasReason(Reason::kContentRejected));
  }
}

TEST(UnpaddingDecryptor, LeavesItToOthersThatThePlaintextIsTooShort) {
  EXPECT_THAT(Unpad("content", 8, 3), IsOkAndHolds("content"));
}

}  // namespace
}  // namespace backup::crypto
