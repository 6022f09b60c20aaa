// What is asked and what is made of answers, by a proxy without a store behind it.
#include "storage/s3/s3_client.h"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "storage/s3/part_buffer.h"
#include "storage/s3/s3_blob_store.h"
#include "storage/s3/testing/engines.h"
#include "storage/s3/testing/fake_store.h"
#include "storage/s3/testing/fault_proxy.h"
#include "storage/testing/ids.h"

namespace backup::storage::s3 {
namespace {

using testing::HasReason;
using ::testing::HasSubstr;
using testing::StatusIs;

const std::string kFirst(Marker::kHolderSize, '1');
const std::string kSecond(Marker::kHolderSize, '2');
constexpr char kOk[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

// Else who has sent many parts would wait for those who begin.
TEST(PartBuffer, FindsTheReserveIfPartsWentBeforeIt) {
  constexpr int64_t kSlab = PartBuffer::kSlabSize;
  MemoryBound memory(2 * kSlab, Gauge(), /*reserve_bytes=*/kSlab);
  PartBuffer first(memory);
  EXPECT_TRUE(first.TakeRoom(kSlab, absl::ZeroDuration()));
  PartBuffer other(memory);
  EXPECT_FALSE(other.TakeRoom(kSlab, absl::ZeroDuration()));
  PartBuffer later(memory, MemoryBound::For::kGoingOn);
  EXPECT_TRUE(later.TakeRoom(kSlab, absl::ZeroDuration()));
}

class S3ClientTest : public ::testing::Test {
 protected:
  std::shared_ptr<S3Client> Open(S3Client::Options options) {
    return S3Client::Open(std::move(options), FixedCredentials(engine_.credentials), clock_)
        .value();
  }
  std::shared_ptr<S3Client> Open() { return Open(Options()); }
  S3Client::Options Options() { return TestOptions(engine_, proxy_.endpoint()).client; }

  // These answers, the last one again and again.
  void Answers(std::vector<std::string> answers) {
    const auto next = std::make_shared<std::atomic<size_t>>(0);
    proxy_.set_plan([answers = std::move(answers), next](absl::string_view) {
      return Fault{.answer = answers[std::min((*next)++, answers.size() - 1)]};
    });
  }

  SystemClock clock_;
  const Engine engine_ = {"none", 0, {"KEY", "TOPSECRET", ""}};
  FaultProxy proxy_{0};
};

TEST(WaitBefore, IsLongerEachTimeUpToABoundAndAtRandom) {
  RetryPolicy policy;
  policy.first_wait = absl::Milliseconds(100);
  policy.max_wait = absl::Seconds(1);
  EXPECT_EQ(WaitBefore(policy, 0, 0.5), absl::Milliseconds(50));
  EXPECT_EQ(WaitBefore(policy, 3, 0.5), absl::Milliseconds(400));
  EXPECT_EQ(WaitBefore(policy, 4, 0.5), absl::Milliseconds(500));
  EXPECT_EQ(WaitBefore(policy, 1'000'000, 1), absl::Seconds(1));
  EXPECT_EQ(WaitBefore(policy, 3, 0), absl::ZeroDuration());
}

TEST_F(S3ClientTest, TriesAgainWhatMayPass) {
  Answers({ErrorAnswer(503, "SlowDown"), ErrorAnswer(500, "InternalError"), "", "HTTP/1.1 20",
           "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", kOk});
  const auto client = Open();
  const auto call = client->Start({.operation = Operation::kGet, .key = "key"});
  const absl::StatusOr<HttpAnswer> answer = call->Wait();
  ASSERT_OK(answer);
  EXPECT_EQ(answer->body, "ok");
  EXPECT_TRUE(call->is_in_doubt());
  EXPECT_EQ(proxy_.requests(), 6);
}

TEST_F(S3ClientTest, TakesNoAnswerForWholeThatWasCutOff) {
  constexpr absl::string_view kAnswer =
      "HTTP/1.1 200 OK\r\nETag: \"1234\"\r\nContent-Length: 2\r\n\r\nok";
  const auto client = Open();
  for (size_t passes = 0; passes < kAnswer.size(); ++passes) {
    Answers({std::string(kAnswer.substr(0, passes)), kOk});
    const int before = proxy_.requests();
    EXPECT_OK(client->Call({.operation = Operation::kGet, .key = "key"}));
    EXPECT_EQ(proxy_.requests(), before + 2) << passes;
  }
  // Nobody knows whether this is all.
  Answers({"HTTP/1.1 200 OK\r\n\r\nok", kOk});
  EXPECT_OK(client->Call({.operation = Operation::kGet, .key = "key"}));
  EXPECT_EQ(proxy_.requests(), 2 * static_cast<int>(kAnswer.size()) + 2);
}

TEST_F(S3ClientTest, AsksOnceForWhatIsRefused) {
  const auto client = Open();
  for (const std::string& answer :
       {ErrorAnswer(400, "InvalidRequest"), ErrorAnswer(403, "AccessDenied"),
        ErrorAnswer(404, "NoSuchKey"), ErrorAnswer(412, "PreconditionFailed")}) {
    const int before = proxy_.requests();
    Answers({answer});
    const auto call = client->Start({.operation = Operation::kGet, .key = "key"});
    EXPECT_FALSE(call->Wait().ok());
    EXPECT_FALSE(call->is_in_doubt());
    EXPECT_EQ(proxy_.requests(), before + 1);
  }
}

TEST_F(S3ClientTest, EndsAtItsDeadlineWhateverTheStoreDoes) {
  S3Client::Options options = Options();
  options.retries.timeout = absl::Milliseconds(300);
  const auto client = Open(options);
  for (const Fault& fault : {Fault{.answer = ErrorAnswer(503, "SlowDown")},
                             Fault{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"},
                             Fault{.answer = "HTTP/1.1 ", .delay = absl::Seconds(3)}}) {
    proxy_.set_plan([&](absl::string_view) { return fault; });
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THAT(
        client->Call({.operation = Operation::kGet, .key = "key"}),
        StatusIs(fault.delay == absl::ZeroDuration() && absl::StrContains(fault.answer, "SlowDown")
                     ? absl::StatusCode::kResourceExhausted
                     : absl::StatusCode::kUnavailable));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  }
}

TEST_F(S3ClientTest, SaysThatNobodyListens) {
  S3Client::Options options = Options();
  options.location.endpoint = "http://127.0.0.1:1";
  options.retries.timeout = absl::Milliseconds(200);
  EXPECT_THAT(Open(options)->Call({.operation = Operation::kGet, .key = "key"}),
              HasReason(Reason::kBackendDown));
}

TEST_F(S3ClientTest, GivesUpACallThatNobodyWaitsFor) {
  proxy_.set_plan(
      [](absl::string_view) { return Fault{.answer = kOk, .delay = absl::Milliseconds(500)}; });
  const auto client = Open();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) client->Start({.operation = Operation::kGet, .key = "key"});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(400));
}

// Against a store whose answers a test may hold up.
class FakeStoreTest : public ::testing::Test {
 protected:
  FakeStoreTest() { EXPECT_OK(OpenClient(Options())->Call({.operation = Operation::kPut})); }

  S3BlobStore::Options StoreOptions() { return TestOptions(engine_); }
  S3Client::Options Options() { return StoreOptions().client; }
  std::shared_ptr<S3Client> OpenClient(S3Client::Options options) {
    return S3Client::Open(std::move(options), FixedCredentials(engine_.credentials), clock_)
        .value();
  }
  absl::StatusOr<std::unique_ptr<S3BlobStore>> OpenStore(S3BlobStore::Options options) {
    return S3BlobStore::Open(std::move(options), FixedCredentials(engine_.credentials), clock_);
  }
  absl::StatusOr<std::unique_ptr<S3BlobStore>> OpenStore() { return OpenStore(StoreOptions()); }
  // What comes of opening a store that has these.
  absl::Status OpenWith(FakeStore::Quirks quirks) {
    fake_.set_quirks(std::move(quirks));
    S3BlobStore::Options options = StoreOptions();
    options.client.retries.timeout = absl::Milliseconds(300);
    return OpenStore(options).status();
  }
  // Each request that `is_it` gets this answer.
  static FakeStore::Quirks Answering(std::function<bool(const FakeStore::Request&)> is_it,
                                     std::string answer) {
    return {.before = [=](const FakeStore::Request& request) {
      return is_it(request) ? std::optional(answer) : std::nullopt;
    }};
  }
  static absl::Status Put(BlobStore& store, const BlobId& id, const std::string& bytes) {
    StringSource source(bytes);
    return store.Put(id, source, std::nullopt).status();
  }

  // The store takes its time for such requests until is_done_, and does nothing for any.
  void HoldUp(std::function<bool(const FakeStore::Request&)> which) {
    fake_.set_quirks(
        {.before = [this, which = std::move(which)](const FakeStore::Request& request) {
          while (which(request) && !is_done_) absl::SleepFor(absl::Milliseconds(1));
          return kOk;
        }});
  }

  SystemClock clock_;
  // Looked for by the store, maybe yet when the test is over.
  std::atomic<bool> is_done_ = false;
  FakeStore fake_{{"KEY", "TOPSECRET", ""}};
  const Engine engine_ = {"fake", fake_.port(), {"KEY", "TOPSECRET", ""}};
  const BlobId id_ = storage::IdOf<BlobId>(0xAB);
};

TEST_F(FakeStoreTest, LetsCallsWaitForTheirTurn) {
  S3Client::Options options = Options();
  options.transport.max_active = 2;
  options.transport.max_active_small = 3;
  std::array<std::atomic<int>, 2> now = {};
  std::array<std::atomic<int>, 2> most = {};
  fake_.set_quirks({.before = [&](const FakeStore::Request& request) {
    const size_t kind = request.key == "large" ? 0 : 1;
    const int count = ++now[kind];
    int seen = most[kind];
    while (count > seen && !most[kind].compare_exchange_weak(seen, count)) {
    }
    absl::SleepFor(absl::Milliseconds(5));
    --now[kind];
    return kOk;
  }});
  const auto client = OpenClient(options);
  std::array<char, 8> out = {};
  std::vector<std::unique_ptr<S3Call>> calls;
  for (int i = 0; i < 25; ++i) {
    calls.push_back(client->Start({.operation = Operation::kGet, .key = "large", .out = out}));
    calls.push_back(client->Start({.operation = Operation::kGet, .key = "small"}));
  }
  for (const auto& call : calls) EXPECT_OK(call->Wait());
  EXPECT_EQ(most[0], 2);
  EXPECT_EQ(most[1], 3);
}

TEST_F(FakeStoreTest, CountsNoTimeBeforeTheirTurn) {
  S3Client::Options options = Options();
  options.transport.max_active = 1;
  options.retries.timeout = absl::Milliseconds(400);
  fake_.set_quirks({.before = [&](const FakeStore::Request&) {
    absl::SleepFor(absl::Milliseconds(100));
    return kOk;
  }});
  const auto client = OpenClient(options);
  std::array<char, 8> out = {};
  std::vector<std::unique_ptr<S3Call>> calls;
  for (int i = 0; i < 6; ++i)
    calls.push_back(client->Start({.operation = Operation::kGet, .key = "key", .out = out}));
  for (const auto& call : calls) EXPECT_OK(call->Wait());
}

TEST_F(FakeStoreTest, LetsWhatIsSmallPassWhatIsLarge) {
  S3Client::Options options = Options();
  options.transport.max_active = 1;
  HoldUp([](const FakeStore::Request& request) { return request.key == "large"; });
  const auto client = OpenClient(options);
  std::array<char, 8> out = {};
  const auto large = client->Start({.operation = Operation::kGet, .key = "large", .out = out});
  EXPECT_OK(client->Call({.operation = Operation::kGet, .key = "small"}));
  is_done_ = true;
  EXPECT_OK(large->Wait());
}

TEST_F(FakeStoreTest, LetsNothingWaitForContentOfTheOtherDirection) {
  S3Client::Options options = Options();
  options.transport.max_active = 1;
  HoldUp([](const FakeStore::Request& request) { return request.method == "PUT"; });
  const auto client = OpenClient(options);
  const auto put =
      client->Start({.operation = Operation::kPut, .key = "large", .body = {"content"}});
  std::array<char, 8> out = {};
  EXPECT_OK(client->Call({.operation = Operation::kGet, .key = "key", .out = out}));
  // What completes an upload has a body, too.
  EXPECT_OK(client->Call({.operation = Operation::kCompleteUpload,
                          .key = "parts",
                          .query = {{"uploadId", "1"}},
                          .body = {"list"}}));
  is_done_ = true;
  EXPECT_OK(put->Wait());
}

TEST_F(FakeStoreTest, LetsNothingSmallWaitForWhatIsSlow) {
  S3Client::Options options = Options();
  options.transport.max_active_small = 1;
  HoldUp([](const FakeStore::Request& request) { return request.method == "POST"; });
  const auto client = OpenClient(options);
  const auto slow = client->Start({.operation = Operation::kCompleteUpload,
                                   .key = "parts",
                                   .query = {{"uploadId", "1"}},
                                   .body = {"list"}});
  EXPECT_OK(client->Call({.operation = Operation::kHead, .key = "key"}));
  is_done_ = true;
  EXPECT_OK(slow->Wait());
}

TEST_F(FakeStoreTest, EndsAtOnceWhenItIsToStop) {
  HoldUp([](const FakeStore::Request&) { return true; });
  const auto client = OpenClient(Options());
  const auto begin = std::chrono::steady_clock::now();
  const auto call = client->Start({.operation = Operation::kGet, .key = "key"});
  client->Stop();
  EXPECT_TRUE(SaysStoreIsAway(call->Wait().status()));
  EXPECT_TRUE(SaysStoreIsAway(client->Call({.operation = Operation::kGet, .key = "key"}).status()));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  is_done_ = true;
}

TEST_F(FakeStoreTest, DoesNotTryAgainWhatOnlyAnOperatorCanMend) {
  S3Client::Options options = Options();
  options.location.endpoint = absl::StrCat("https://127.0.0.1:", fake_.port());
  options.transport.ca_file = "/nonexistent/ca.pem";
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status asked =
      OpenClient(options)->Call({.operation = Operation::kGet, .key = "key"}).status();
  EXPECT_THAT(asked, HasReason(Reason::kBackendDown));
  EXPECT_THAT(std::string(asked.message()), HasSubstr("--s3_ca_file"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

// The store has checked what was signed.
TEST_F(FakeStoreTest, SignsWhatItAsks) {
  const auto store = OpenStore().value();
  EXPECT_OK(Put(*store, id_, "bytes"));
  EXPECT_OK(store->Open(id_));
  const absl::Status refused =
      S3BlobStore::Open(StoreOptions(), FixedCredentials({"KEY", "TOPSECRET2", ""}), clock_)
          .status();
  EXPECT_THAT(refused, HasReason(Reason::kBackendDown));
  EXPECT_THAT(std::string(refused.message()), ::testing::Not(HasSubstr("TOPSECRET")));
}

TEST_F(FakeStoreTest, DoesNotOpenAStoreThatIsNotSafe) {
  const auto is_unsafe = StatusIs(absl::StatusCode::kFailedPrecondition);
  EXPECT_OK(OpenWith({}));
  EXPECT_THAT(OpenWith({.takes_any_secret = true}), is_unsafe);
  EXPECT_THAT(OpenWith({.takes_any_body = true}), is_unsafe);
  EXPECT_THAT(OpenWith({.takes_any_part = true}), is_unsafe);
  EXPECT_THAT(OpenWith({.forgets_metadata = true}), is_unsafe);
  fake_.set_quirks({});
  EXPECT_EQ(fake_.uploads(), 0u);
  EXPECT_TRUE(fake_.keys().empty());
}

// It may be no safer than any other.
TEST_F(FakeStoreTest, DoesNotOpenAStoreThatHasNoTimeToBeTried) {
  const std::string busy = ErrorAnswer(503, "SlowDown");
  for (const std::string& answer : {busy, std::string("HTTP/1.1 20")}) {
    int gets = 0;
    const auto secret = [&gets](const FakeStore::Request& request) {
      return request.method == "GET" && !request.key.empty() && ++gets >= 2;
    };
    EXPECT_TRUE(SaysStoreIsAway(OpenWith(Answering(secret, answer))));
    const auto body = [](const FakeStore::Request& request) {
      return request.method == "PUT" && absl::EndsWith(request.key, ".wrong");
    };
    EXPECT_TRUE(SaysStoreIsAway(OpenWith(Answering(body, answer))));
    const auto condition = [](const FakeStore::Request& request) {
      return request.headers.contains("if-none-match");
    };
    EXPECT_TRUE(SaysStoreIsAway(OpenWith(Answering(condition, answer))));
    const auto part = [](const FakeStore::Request& request) { return request.Has("partNumber"); };
    EXPECT_TRUE(SaysStoreIsAway(OpenWith(Answering(part, answer))));
  }
}

TEST_F(FakeStoreTest, OpensAStoreWithoutConditions) {
  EXPECT_OK(OpenWith({.has_conditions = false}));
  EXPECT_OK(OpenWith(Answering(
      [](const FakeStore::Request& request) { return request.headers.contains("if-none-match"); },
      ErrorAnswer(501, "NotImplemented"))));
}

TEST_F(FakeStoreTest, RemovesWhatEarlierProbesLeft) {
  const S3BlobStore::Options options = StoreOptions();
  const std::string folder = options.client.location.prefix + "probe/";
  const auto client = OpenClient(options.client);
  ASSERT_OK(client->Call({.operation = Operation::kPut, .key = folder + "left"}));
  ASSERT_OK(client->Call({.operation = Operation::kBeginUpload,
                          .key = folder + "left",
                          .query = {{"uploads", ""}},
                          .headers = {"Content-Type: text/plain"}}));
  ASSERT_OK(OpenStore(options));
  EXPECT_TRUE(fake_.keys().empty());
  EXPECT_EQ(fake_.uploads(), 0u);
}

TEST_F(FakeStoreTest, NeedsOnlyToListAndGetToBeRead) {
  S3BlobStore::Options options = StoreOptions();
  ASSERT_OK(Put(*OpenStore(options).value(), id_, "bytes"));
  fake_.set_quirks(Answering(
      [](const FakeStore::Request& request) {
        return request.method != "GET" || request.Has("uploads");
      },
      ErrorAnswer(403, "AccessDenied")));
  EXPECT_THAT(OpenStore(options), HasReason(Reason::kBackendDown));
  options.only_reads = true;
  const auto store = OpenStore(options);
  ASSERT_OK(store);
  EXPECT_OK((*store)->Open(id_));
}

// Whoever it was that said so.
TEST_F(FakeStoreTest, TakesNoBlobForStoredUnlessItIsThere) {
  const auto store = OpenStore().value();
  fake_.set_quirks(
      Answering([](const FakeStore::Request& request) { return request.method == "PUT"; }, kOk));
  EXPECT_THAT(Put(*store, id_, "bytes"), HasReason(Reason::kBackendDown));
}

TEST_F(FakeStoreTest, EndsAListingThatDoesNotGoOn) {
  const auto store = OpenStore().value();
  for (uint8_t i = 0; i < 5; ++i) ASSERT_OK(Put(*store, storage::IdOf<BlobId>(i), "bytes"));
  int visited = 0;
  const auto visit = [&](const BlobInfo&) {
    ++visited;
    return absl::OkStatus();
  };
  fake_.set_quirks({.page_size = 2});
  EXPECT_OK(store->List(visit));
  EXPECT_EQ(visited, 5);
  fake_.set_quirks({.repeats_pages = true, .page_size = 2});
  EXPECT_THAT(store->List(visit), HasReason(Reason::kStorageIo));
}

// libcurl sends a request again then, by itself.
TEST_F(FakeStoreTest, StoresThoughKeptConnectionsEnd) {
  const auto store = OpenStore().value();
  const std::string large(kPartSize + 1, 'x');
  for (int answers = 1; answers < 6; ++answers) {
    fake_.set_quirks({.answers_a_connection = answers});
    EXPECT_OK(Put(*store, id_, "bytes"));
    EXPECT_OK(store->Delete(id_));
    EXPECT_OK(Put(*store, id_, large));
    EXPECT_THAT(store->Delete(id_), testing::IsOkAndHolds(true));
  }
  EXPECT_EQ(fake_.uploads(), 0u);
}

TEST_F(FakeStoreTest, HasRoomForManyThatAreSmall) {
  S3BlobStore::Options options = StoreOptions();
  options.max_upload_bytes = 32 << 20;
  const auto store = OpenStore(options).value();
  std::vector<std::unique_ptr<StagedBlob>> staged;
  for (uint8_t i = 0; i < 28; ++i) {
    StringSource source("bytes");
    auto blob = store->Stage(storage::IdOf<BlobId>(i), source, int64_t{64} << 20);
    ASSERT_OK(blob);
    staged.push_back(*std::move(blob));
  }
  for (const auto& blob : staged) EXPECT_OK(blob->Commit());
}

TEST_F(FakeStoreTest, BringsWhatIsNotedBeforeItIsOpened) {
  const auto store = OpenStore().value();
  std::string bytes(3 << 20, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 / 1000);
  ASSERT_OK(Put(*store, id_, bytes));
  store->NoteRead(id_, 1'000'000, 1'000'000);
  const auto blob = store->Open(id_).value();
  const size_t before = fake_.requests().size();
  EXPECT_EQ(blob->size_bytes(), std::ssize(bytes));
  std::string part(1'000'000, '\0');
  ASSERT_OK(blob->ReadAt(1'000'000, {part.data(), part.size()}));
  EXPECT_TRUE(part == bytes.substr(1'000'000, part.size()));
  // That of what comes after it alone: neither its size nor what was noted is asked for again.
  EXPECT_LE(fake_.requests().size(), before + 1);
  ASSERT_OK(blob->ReadAt(0, {part.data(), part.size()}));
  EXPECT_TRUE(part == bytes.substr(0, part.size()));
  // Of one that is not there.
  store->NoteRead(storage::IdOf<BlobId>(1), 0, 10);
  EXPECT_THAT(store->Open(storage::IdOf<BlobId>(1)), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(FakeStoreTest, ReadsOnThoughWhatWasReadAheadFailed) {
  S3BlobStore::Options options = StoreOptions();
  options.client.retries.timeout = absl::Milliseconds(200);
  const auto store = OpenStore(options).value();
  const std::string bytes(6 << 20, 'x');
  ASSERT_OK(Put(*store, id_, bytes));
  const auto blob = store->Open(id_).value();
  std::string part(300 << 10, '\0');
  fake_.set_quirks(
      Answering([](const FakeStore::Request&) { return true; }, ErrorAnswer(503, "SlowDown")));
  EXPECT_FALSE(blob->ReadAt(0, {part.data(), part.size()}).ok());  // Windows were begun.
  fake_.set_quirks({});
  for (size_t at = 0; at + part.size() <= bytes.size(); at += part.size())
    EXPECT_OK(blob->ReadAt(static_cast<int64_t>(at), {part.data(), part.size()}));
}

// They may be slow, and keep what they have.
TEST_F(FakeStoreTest, LetsNoReaderHaveAllMemory) {
  S3BlobStore::Options options = StoreOptions();
  options.max_read_ahead_bytes = 16 << 20;
  const auto store = OpenStore(options).value();
  const std::string bytes(40 << 20, 'x');
  ASSERT_OK(Put(*store, id_, bytes));
  std::string part(128 << 10, '\0');
  const auto read = [&](const RandomAccess& blob, int64_t size) {
    for (int64_t at = 0; at < size; at += std::ssize(part))
      EXPECT_OK(blob.ReadAt(at, {part.data(), part.size()}));
  };
  const auto first = store->Open(id_).value();
  read(*first, 10 << 20);
  const auto second = store->Open(id_).value();
  const size_t before = fake_.requests().size();
  read(*second, 4 << 20);
  EXPECT_LE(fake_.requests().size(), before + 8);  // Of 32 reads.
}

TEST_F(FakeStoreTest, KeepsNothingOfWhatWasReadToItsEnd) {
  Metrics metrics;
  S3BlobStore::Options options = StoreOptions();
  options.client.metrics = S3Metrics(metrics);
  const auto store = OpenStore(options).value();
  std::string bytes(600 << 10, 'x');
  ASSERT_OK(Put(*store, id_, bytes));
  std::vector<std::unique_ptr<RandomAccess>> blobs;
  const size_t piece = 100 << 10;
  for (int i = 0; i < 8; ++i) {
    blobs.push_back(store->Open(id_).value());
    for (size_t at = 0; at < bytes.size(); at += piece)
      EXPECT_OK(blobs.back()->ReadAt(static_cast<int64_t>(at), {bytes.data() + at, piece}));
  }
  EXPECT_THAT(metrics.Text(), HasSubstr("backup_s3_read_ahead_bytes 0\n"));
}

TEST_F(FakeStoreTest, TakesNoBlobForEmptyThatHasBytes) {
  const auto store = OpenStore().value();
  ASSERT_OK(Put(*store, id_, ""));
  EXPECT_EQ(store->Open(id_).value()->size_bytes(), 0);
  const BlobId full = storage::IdOf<BlobId>(1);
  ASSERT_OK(Put(*store, full, "bytes"));
  fake_.set_quirks(
      Answering([](const FakeStore::Request& request) { return request.method == "GET"; },
                ErrorAnswer(416, "InvalidRange")));
  EXPECT_THAT(store->Open(full), HasReason(Reason::kStorageIo));
}

TEST_F(FakeStoreTest, RefusesAtOnceWhatDoesNotFitIntoItsParts) {
  const auto store = OpenStore().value();
  const size_t before = fake_.requests().size();
  StringSource source("bytes");
  EXPECT_THAT(store->Stage(id_, source, kMaxObjectSize + 1), HasReason(Reason::kSizeLimit));
  EXPECT_EQ(source.Read().value(), "bytes");
  EXPECT_OK(store->Stage(id_, source, kMaxObjectSize));
  EXPECT_EQ(fake_.requests().size(), before);
}

// Long before it looks for what it stores.
TEST_F(FakeStoreTest, SoonDeletesNothingThatAnotherHolds) {
  const S3BlobStore::Options options = StoreOptions();
  const auto store = OpenStore(options).value();
  ASSERT_OK(store->Claim({"one", kFirst}, /*is_new=*/true));
  store->Watch("one", [](const std::string& holder) { return holder == kFirst; });
  EXPECT_THAT(store->Delete(id_), testing::IsOkAndHolds(false));
  ASSERT_OK(OpenStore(options).value()->Claim({"one", kSecond}, /*is_new=*/false));
  const absl::Time end = clock_.Now() + absl::Seconds(15);
  absl::Status deleted;
  while (deleted.ok() && clock_.Now() < end) deleted = store->Delete(id_).status();
  EXPECT_THAT(deleted, HasReason(Reason::kBackendDown));
}

// A legal hold, for one.
TEST_F(FakeStoreTest, DeletesOthersThoughOneIsLocked) {
  const auto store = OpenStore().value();
  const BlobId other = storage::IdOf<BlobId>(1);
  ASSERT_OK(Put(*store, id_, "bytes"));
  ASSERT_OK(Put(*store, other, "bytes"));
  fake_.set_quirks(Answering(
      [hex = ToHex(id_)](const FakeStore::Request& request) {
        return request.method == "DELETE" && absl::EndsWith(request.key, hex);
      },
      ErrorAnswer(403, "AccessDenied")));
  const absl::Status locked = store->Delete(id_).status();
  EXPECT_THAT(locked, HasReason(Reason::kStorageIo));
  EXPECT_FALSE(SaysStoreIsAway(locked));
  EXPECT_THAT(store->Delete(other), testing::IsOkAndHolds(true));
}

TEST_F(FakeStoreTest, HasDeletedNothingOfWhatIsOpenIfAllIsGone) {
  const auto store = OpenStore().value();
  ASSERT_OK(store->Claim({"one", kFirst}, /*is_new=*/true));
  store->Watch("one", [](const std::string& holder) { return holder == kFirst; });
  const std::string bytes(2 << 20, 'x');
  std::string part(1000, '\0');
  const auto read = [&](const RandomAccess& blob) {
    return blob.ReadAt(1 << 20, {part.data(), part.size()});
  };
  const BlobId other = storage::IdOf<BlobId>(1);
  ASSERT_OK(Put(*store, id_, bytes));
  ASSERT_OK(Put(*store, other, bytes));
  const auto deleted = store->Open(id_).value();
  const auto open = store->Open(other).value();
  ASSERT_OK(store->Delete(id_));
  EXPECT_THAT(read(*deleted), StatusIs(absl::StatusCode::kNotFound));
  fake_.Empty();
  const absl::Time end =
      clock_.Now() + absl::Seconds(15);  // The last look is believed for a while.
  absl::Status gone;
  while (!SaysStoreIsAway(gone) && clock_.Now() < end) {
    absl::SleepFor(absl::Milliseconds(50));
    gone = read(*open);
  }
  EXPECT_TRUE(SaysStoreIsAway(gone)) << gone;
}

// Its client may send for hours.
TEST_F(FakeStoreTest, StoresNothingThatWasStagedBeforeAnotherTookOver) {
  const S3BlobStore::Options options = StoreOptions();
  const auto store = OpenStore(options).value();
  ASSERT_OK(store->Claim({"one", kFirst}, /*is_new=*/true));
  store->Watch("one", [](const std::string& holder) { return holder == kFirst; });
  std::vector<std::unique_ptr<StagedBlob>> staged;
  const std::string large(kPartSize + 1, 'x');
  for (const std::string& bytes : {std::string("bytes"), large}) {
    StringSource source(bytes);
    staged.push_back(store->Stage(id_, source, std::nullopt).value());
  }
  EXPECT_FALSE(store->IsTakenOver());
  ASSERT_OK(OpenStore(options).value()->Claim({"one", kSecond}, /*is_new=*/false));
  EXPECT_TRUE(store->IsTakenOver());
  for (const auto& blob : staged) EXPECT_THAT(blob->Commit(), HasReason(Reason::kBackendDown));
  EXPECT_EQ(fake_.keys().size(), 1u);  // The marker.
}

// Whatever stands before the store answers in its place.
TEST_F(FakeStoreTest, IsNotTakenOverByAPageOfMaintenance) {
  const auto store = OpenStore().value();
  ASSERT_OK(store->Claim({"one", kFirst}, /*is_new=*/true));
  store->Watch("one", [](const std::string& holder) { return holder == kFirst; });
  const std::string other =
      absl::StrCat("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ", kSecond.size(),
                   "\r\n\r\n", kSecond);
  const auto is_marker = [](const FakeStore::Request& request) {
    return absl::StrContains(request.key, "installation/");
  };
  fake_.set_quirks(Answering(is_marker, kOk));
  EXPECT_THAT(Put(*store, id_, "bytes"), HasReason(Reason::kBackendDown));
  // Nor by another's that is told once.
  const auto asked = std::make_shared<std::atomic<int>>(0);
  fake_.set_quirks({.before = [=](const FakeStore::Request& request) {
    return is_marker(request) && (*asked)++ == 0 ? std::optional(other) : std::nullopt;
  }});
  const absl::Time end = clock_.Now() + absl::Seconds(15);
  while (*asked == 0 && clock_.Now() < end)
    EXPECT_THAT(store->Delete(id_), HasReason(Reason::kBackendDown));
  EXPECT_GT(*asked, 0);
  absl::Status stored = absl::UnavailableError("");
  while (!stored.ok() && clock_.Now() < end) stored = Put(*store, id_, "bytes");
  EXPECT_OK(stored);
}

TEST_F(FakeStoreTest, ReadsAFooterAtOnce) {
  const auto store = OpenStore().value();
  const std::string bytes(3 << 20, 'x');
  ASSERT_OK(Put(*store, id_, bytes));
  const auto blob = store->Open(id_).value();
  const size_t before = fake_.requests().size();
  for (const size_t size : {8, 16, 1024, 100'000}) {
    std::string end(size, '\0');
    EXPECT_OK(blob->ReadAt(std::ssize(bytes) - std::ssize(end), {end.data(), end.size()}));
    EXPECT_TRUE(end == bytes.substr(bytes.size() - size));
  }
  EXPECT_EQ(fake_.requests().size(), before + 1);
}

TEST_F(S3ClientTest, RefusesAnAnswerThatIsTooLong) {
  S3Client::Options options = Options();
  options.retries.timeout = absl::Milliseconds(100);
  Answers({kOk});
  char out = 0;
  EXPECT_THAT(Open(options)->Call(
                  {.operation = Operation::kGet, .key = "key", .out = std::span<char>(&out, 1)}),
              HasReason(Reason::kBackendDown));
}

TEST_F(S3ClientTest, SignsAndNeverTellsTheSecret) {
  Answers({ErrorAnswer(403, "SignatureDoesNotMatch")});
  const auto client = Open();
  const absl::StatusOr<HttpAnswer> answer =
      client->Call({.operation = Operation::kGet, .key = "key"});
  EXPECT_THAT(std::string(answer.status().message()), ::testing::Not(HasSubstr("TOPSECRET")));
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("correct the access key"));
}

TEST_F(S3ClientTest, CountsEachTry) {
  Metrics metrics;
  S3Client::Options options = Options();
  options.metrics = S3Metrics(metrics);
  Answers({ErrorAnswer(503, "SlowDown"), ErrorAnswer(500, "InternalError"), kOk,
           ErrorAnswer(404, "NoSuchKey")});
  const auto client = Open(options);
  EXPECT_OK(client->Call({.operation = Operation::kGet, .key = "key"}));
  EXPECT_FALSE(client->Call({.operation = Operation::kGet, .key = "key"}).ok());
  const std::string text = metrics.Text();
  for (const absl::string_view outcome : {"busy", "failed", "ok", "refused"}) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("backup_s3_requests_total{op=\"get\",outcome=\"",
                                             outcome, "\"} 1\n")));
  }
}

// A store that says yes to all.
TEST_F(S3ClientTest, DoesNotOpenAStoreThatTakesAnything) {
  const auto open = [&] {
    return S3BlobStore::Open(TestOptions(engine_, proxy_.endpoint()),
                             FixedCredentials(engine_.credentials), clock_)
        .status();
  };
  Answers({kOk});
  EXPECT_THAT(open(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace backup::storage::s3
