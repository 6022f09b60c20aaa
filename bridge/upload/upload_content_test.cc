#include "bridge/upload/upload_content.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "bridge/testing/changed_dialect.h"
#include "bridge/testing/upload_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::bridge::testing::ChangedDialect;
using ::backup::bridge::testing::UploadFixture;
using ::backup::testing::IsOkAndHolds;
using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::string_view kId = "0123456789abcdef";

// A file of family C.
std::string Encode(absl::string_view content, uint32_t content_size) {
  const std::string payload = wire::ByteWriter()
                                  .U32(content_size)
                                  .Bytes(std::string("a.bin") + std::string(250, '\0'))
                                  .Bytes(content)
                                  .Take();
  return wire::ByteWriter()
      .Bytes(kId)
      .U8(3)
      .U16(1028)
      .U32(static_cast<uint32_t>(payload.size()))
      .Bytes(payload)
      .Take();
}

wire::Dialect WithText(const std::string& text) {
  const std::string counts = "content_size_counts: CIPHERTEXT_OR_PLAINTEXT";
  return ChangedDialect("C", {{counts, counts + " text: " + text}});
}

class UploadContentTest : public UploadFixture {};

TEST_F(UploadContentTest, AFileThatIsOneMessageIsPassedOnAsItIs) {
  const std::string content = PseudoRandomBytes(100'000 / 16 * 16);
  const wire::Dialect dialect = ChangedDialect("C");
  EXPECT_THAT(ReadFile(dialect, Encode(content, content.size()) + "next"), IsOkAndHolds(content));
  EXPECT_EQ(content_.size, content.size());
  EXPECT_EQ(content_.segment_count, std::nullopt);
  EXPECT_EQ(content_.body->received_bytes(), content.size());
  EXPECT_EQ(Following(4), "next");
  EXPECT_TRUE(IsPlainContent(dialect, wire::SendFile()));
}

TEST_F(UploadContentTest, TextIsDecoded) {
  for (const size_t size : {16, 32, 48, 64, 4096, 300'000 / 16 * 16}) {
    SCOPED_TRACE(size);
    const std::string content = PseudoRandomBytes(size);
    const wire::Dialect hex = WithText("HEX");
    EXPECT_THAT(ReadFile(hex, Encode(absl::BytesToHexString(content), size)),
                IsOkAndHolds(content));
    EXPECT_EQ(content_.size, size);
    EXPECT_FALSE(IsPlainContent(hex, wire::SendFile()));
    const std::string text = absl::Base64Escape(content);
    EXPECT_THAT(ReadFile(WithText("BASE64"), Encode(text, size - 1) + "next"),
                IsOkAndHolds(content));
    EXPECT_EQ(content_.size, size);
    EXPECT_EQ(content_.body->received_bytes(), text.size());
    EXPECT_EQ(Following(4), "next");
  }
}

TEST_F(UploadContentTest, WhatIsNoTextIsRefused) {
  std::string text = absl::Base64Escape(PseudoRandomBytes(48));
  text[17] = '*';
  const auto content = ReadFile(WithText("BASE64"), Encode(text, 48));
  EXPECT_THAT(content, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(content.status().message()), HasSubstr("character 42 at offset 17"));
  // None of 16 bytes: 24 characters are.
  EXPECT_THAT(ReadFile(WithText("BASE64"), Encode(std::string(25, 'A'), 16)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup::bridge
