#include "base/byte_stream.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;
using testing::StatusIs;

// Yields some bytes, then fails.
class FailingSource final : public ByteSource {
 public:
  absl::StatusOr<absl::string_view> Read() override {
    if (failed_) return absl::UnavailableError("the peer is gone");
    failed_ = true;
    return absl::string_view("some");
  }

 private:
  bool failed_ = false;
};

class FullSink final : public ByteSink {
 public:
  absl::Status Write(absl::string_view) override { return absl::ResourceExhaustedError("full"); }
};

TEST(CopyAll, MovesEveryByteInOrderAndCountsThem) {
  const std::string bytes = PseudoRandomBytes(100000);
  RandomCutSource source(bytes, 777);
  StringSink sink;
  EXPECT_THAT(CopyAll(source, sink), IsOkAndHolds(100000));
  EXPECT_EQ(sink.bytes(), bytes);
}

TEST(CopyAll, OfNothingMovesNothing) {
  StringSource source("");
  StringSink sink;
  EXPECT_THAT(CopyAll(source, sink), IsOkAndHolds(0));
  EXPECT_EQ(sink.bytes(), "");
}

TEST(CopyAll, StopsAtTheSourcesError) {
  FailingSource source;
  StringSink sink;
  EXPECT_THAT(CopyAll(source, sink), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(sink.bytes(), "some");
}

TEST(CopyAll, StopsAtTheSinksError) {
  StringSource source("bytes");
  FullSink sink;
  EXPECT_THAT(CopyAll(source, sink), StatusIs(absl::StatusCode::kResourceExhausted));
}

// Tells what happens to it.
class ToldSink final : public ByteSink {
 public:
  absl::Status Write(absl::string_view piece) override {
    absl::StrAppend(&told, piece);
    return absl::OkStatus();
  }
  void LetPiecesLast(size_t pieces) override { told += absl::StrCat("<", pieces, ">"); }
  std::string told;
};

// Its second piece ends before the third one comes.
class EarlyEndSource final : public ByteSource {
 public:
  absl::StatusOr<absl::string_view> Read() override {
    ++reads_;
    if (reads_ == 3) end_uses_();
    return reads_ <= 3 ? absl::string_view("abc").substr(reads_ - 1, 1) : "";
  }
  size_t lasting_pieces() const override { return 2; }
  void set_end_uses(std::function<void()> end_uses) override { end_uses_ = std::move(end_uses); }

 private:
  size_t reads_ = 0;
  std::function<void()> end_uses_;
};

TEST(CopyAll, LetsASourceEndItsPiecesEarlier) {
  EarlyEndSource source;
  ToldSink sink;
  ASSERT_OK(CopyAll(source, sink));
  EXPECT_EQ(sink.told, "<2>ab<0><2>c<0>");
}

TEST(ReadAll, TakesAsMuchAsIsAllowedAndNoMore) {
  StringSource just_enough("12345", 2);
  EXPECT_THAT(ReadAll(just_enough, 5), IsOkAndHolds("12345"));
  StringSource one_too_many("123456", 2);
  EXPECT_THAT(ReadAll(one_too_many, 5), HasReason(Reason::kSizeLimit));
  StringSource nothing("");
  EXPECT_THAT(ReadAll(nothing, 0), IsOkAndHolds(""));
}

TEST(StringSource, HandsOutPiecesAndThenEndsForEver) {
  StringSource source("abcde", 2);
  EXPECT_THAT(source.Read(), IsOkAndHolds("ab"));
  EXPECT_THAT(source.Read(), IsOkAndHolds("cd"));
  EXPECT_THAT(source.Read(), IsOkAndHolds("e"));
  EXPECT_THAT(source.Read(), IsOkAndHolds(""));
  EXPECT_THAT(source.Read(), IsOkAndHolds(""));
}

TEST(ExactSource, PassesContentOfTheAnnouncedSize) {
  const std::string bytes = PseudoRandomBytes(5000);
  RandomCutSource content(bytes, 99);
  ExactSource source(content, 5000);
  EXPECT_THAT(ReadAll(source, 5000), IsOkAndHolds(bytes));
  EXPECT_THAT(source.Read(), IsOkAndHolds(""));
}

TEST(ExactSource, PassesNothingWhenNothingIsAnnounced) {
  StringSource content("");
  ExactSource source(content, 0);
  EXPECT_THAT(source.Read(), IsOkAndHolds(""));
}

TEST(ExactSource, RefusesContentThatEndsEarly) {
  StringSource content("1234", 3);
  ExactSource source(content, 5);
  const absl::Status status = ReadAll(source, 100).status();
  EXPECT_THAT(status, HasReason(Reason::kInvalidField));
  EXPECT_EQ(SubjectOf(status), "encoded_size");
}

TEST(ExactSource, RefusesContentThatGoesOn) {
  StringSource content("123456", 3);
  ExactSource source(content, 5);
  EXPECT_THAT(ReadAll(source, 100), HasReason(Reason::kInvalidField));
  StringSource something("1");
  ExactSource nothing(something, 0);
  EXPECT_THAT(nothing.Read(), HasReason(Reason::kInvalidField));
}

TEST(StringAccess, ReadsAnyRangeWithinItsBytes) {
  const StringAccess access("0123456789");
  EXPECT_EQ(access.size_bytes(), 10);
  std::string out(4, '\0');
  ASSERT_OK(access.ReadAt(6, out));
  EXPECT_EQ(out, "6789");
  EXPECT_OK(access.ReadAt(10, {}));
}

TEST(StringAccess, RefusesARangeThatLeavesItsBytes) {
  const StringAccess access("0123456789");
  std::string out(4, '\0');
  EXPECT_THAT(access.ReadAt(7, out), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(access.ReadAt(11, {}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(access.ReadAt(-1, out), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(access.ReadAt(INT64_MAX, out), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(ByteSource, SharedPiecesLast) {
  StringSource source("abcdef", 3);
  const SharedPiece first = source.Share(*source.Read());
  const SharedPiece second = source.Share(*source.Read());
  EXPECT_EQ(first.bytes, "abc");
  EXPECT_EQ(second.bytes, "def");
  EXPECT_NE(first.buffer, second.buffer);
  EXPECT_EQ(first.buffer_size, 3u);
}

}  // namespace
}  // namespace backup
