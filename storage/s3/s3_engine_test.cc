// Against real stores (TEST_S3_ENGINES), as they are and with a proxy before them that makes all
// kinds of trouble.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/testing/random_cut_source.h"
#include "gmock/gmock.h"
#include "storage/s3/part_buffer.h"
#include "storage/s3/s3_blob_store.h"
#include "storage/s3/testing/engines.h"
#include "storage/s3/testing/fault_proxy.h"
#include "storage/testing/blob_store_contract.h"
#include "storage/testing/ids.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage::s3 {
namespace {

using ::testing::AllOf;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Property;
using testing::PseudoRandomBytes;
using testing::StatusIs;

const SystemClock kClock;
const std::string kFirst(Marker::kHolderSize, '1');
const std::string kSecond(Marker::kHolderSize, '2');
const std::string kThird(Marker::kHolderSize, '3');

std::unique_ptr<S3BlobStore> OpenStore(const Engine& engine, const S3BlobStore::Options& options) {
  return S3BlobStore::Open(options, FixedCredentials(engine.credentials), kClock).value();
}

std::vector<std::function<std::unique_ptr<BlobStore>()>> StoreMakers() {
  std::vector<std::function<std::unique_ptr<BlobStore>()>> makers;
  for (const Engine& engine : EnginesForTests()) {
    makers.emplace_back([engine]() -> std::unique_ptr<BlobStore> {
      MakeTestBucket(engine);
      return OpenStore(engine, TestOptions(engine));
    });
  }
  return makers;
}

std::string NameOf(const ::testing::TestParamInfo<Engine>& info) { return info.param.name; }

// The makers are in the order of the engines.
std::string NameOfMaker(
    const ::testing::TestParamInfo<std::function<std::unique_ptr<BlobStore>()>>& maker) {
  return EnginesForTests()[maker.index].name;
}

INSTANTIATE_TEST_SUITE_P(S3, BlobStoreContract, ::testing::ValuesIn(StoreMakers()), NameOfMaker);

class S3Engine : public ::testing::TestWithParam<Engine> {
 protected:
  static constexpr int64_t kTwoParts = kPartSize + 5000;

  void SetUp() override { MakeTestBucket(GetParam()); }

  // A store behind the proxy, which passes all on while it is opened.
  S3BlobStore& Open(S3BlobStore::Options options) {
    store_options_ = options;
    store_ = OpenStore(GetParam(), options);
    return *store_;
  }
  S3BlobStore& Open() { return Open(TestOptions(GetParam(), proxy_.endpoint())); }

  static absl::StatusOr<int64_t> Put(BlobStore& store, const BlobId& id, const std::string& bytes) {
    testing::RandomCutSource source(bytes, kPieceSize);
    return store.Put(id, source, std::nullopt);
  }

  static std::string Read(const BlobStore& store, const BlobId& id, size_t step = kPieceSize) {
    const auto blob = store.Open(id);
    if (!blob.ok()) return std::string(blob.status().message());
    std::string bytes(static_cast<size_t>((*blob)->size_bytes()), '\0');
    for (size_t at = 0; at < bytes.size(); at += step) {
      const std::span<char> part(bytes.data() + at, std::min(step, bytes.size() - at));
      const absl::Status read = (*blob)->ReadAt(static_cast<int64_t>(at), part);
      if (!read.ok()) return std::string(read.message());
    }
    return bytes;
  }

  static std::vector<BlobId> Unfinished(const S3BlobStore& store) {
    std::vector<BlobId> unfinished;
    EXPECT_OK(store.ListUnfinished([&](const BlobId& id) {
      unfinished.push_back(id);
      return absl::OkStatus();
    }));
    return unfinished;
  }

  static std::set<BlobId> Listed(const S3BlobStore& store) {
    std::set<BlobId> ids;
    EXPECT_OK(store.List([&](const BlobInfo& info) {
      ids.insert(info.id);
      return absl::OkStatus();
    }));
    return ids;
  }

  // The first `times` requests whose line has `what` meet `fault`.
  void Disturb(const std::string& what, int times, const Fault& fault) {
    const auto left = std::make_shared<std::atomic<int>>(times);
    proxy_.set_plan([=](absl::string_view request) {
      return absl::StrContains(request, what) && --*left >= 0 ? fault : Fault{};
    });
  }

  const BlobId id_ = storage::IdOf<BlobId>(0xAB);
  const std::string small_ = PseudoRandomBytes(300'000);
  const std::string large_ = PseudoRandomBytes(kTwoParts);
  FaultProxy proxy_{GetParam().port};
  S3BlobStore::Options store_options_;
  std::unique_ptr<S3BlobStore> store_;
};

TEST_P(S3Engine, KeepsABlobOfManyParts) {
  S3BlobStore& store = Open();
  const std::string bytes = PseudoRandomBytes(5 * kPartSize + 1);
  EXPECT_THAT(Put(store, id_, bytes), IsOkAndHolds(std::ssize(bytes)));
  for (const size_t step : {kPieceSize, size_t{100'000}, 3 * kPieceSize, bytes.size()})
    EXPECT_TRUE(Read(store, id_, step) == bytes) << step;
  EXPECT_TRUE(Unfinished(store).empty());
}

TEST_P(S3Engine, KeepsABlobOfExactlyOneAndTwoParts) {
  S3BlobStore& store = Open();
  for (const int64_t size : {kPartSize, 2 * kPartSize}) {
    const std::string bytes = PseudoRandomBytes(size);
    EXPECT_THAT(Put(store, id_, bytes), IsOkAndHolds(size));
    EXPECT_TRUE(Read(store, id_) == bytes);
    EXPECT_THAT(store.Delete(id_), IsOkAndHolds(true));
  }
}

TEST_P(S3Engine, ReadsAnyPlaceOfALargeBlobInAnyOrder) {
  S3BlobStore& store = Open();
  ASSERT_OK(Put(store, id_, large_));
  const auto blob = store.Open(id_).value();
  std::mt19937 random(1);
  for (int i = 0; i < 40; ++i) {
    const size_t size = random() % (2 * kPieceSize);
    const size_t at = random() % (large_.size() - size);
    std::string range(size, '\0');
    ASSERT_OK(blob->ReadAt(static_cast<int64_t>(at), {range.data(), size}));
    ASSERT_TRUE(range == large_.substr(at, size)) << at << " " << size;
  }
}

TEST_P(S3Engine, ServesManyReadersOfOneLargeBlob) {
  S3BlobStore& store = Open();
  ASSERT_OK(Put(store, id_, large_));
  const auto blob = store.Open(id_).value();
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::string range(700'000, '\0');
      for (size_t at = t * 10'000; at + range.size() <= large_.size(); at += range.size()) {
        EXPECT_OK(blob->ReadAt(static_cast<int64_t>(at), {range.data(), range.size()}));
        EXPECT_TRUE(range == large_.substr(at, range.size()));
      }
    });
  }
}

TEST_P(S3Engine, ListsMoreThanAPage) {
  S3BlobStore& store = Open();
  std::set<BlobId> put;
  std::vector<std::jthread> threads;
  for (uint8_t first = 0; first < 6; ++first) {
    for (int second = 0; second < 200; ++second)
      put.insert(storage::IdOf<BlobId>(first, static_cast<uint8_t>(second)));
    threads.emplace_back([&store, first] {
      for (int second = 0; second < 200; ++second) {
        EXPECT_OK(Put(store, storage::IdOf<BlobId>(first, static_cast<uint8_t>(second)), "bytes"));
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(Listed(store) == put);
}

TEST_P(S3Engine, LeavesNoUploadWhenTheSourceFails) {
  S3BlobStore& store = Open();
  FaultyBlobStore faulty(
      store, {.error = absl::CancelledError("gone"), .after_bytes = int64_t{kPartSize} + 1});
  StringSource source(large_);
  EXPECT_THAT(faulty.Put(id_, source, std::nullopt), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_TRUE(Unfinished(store).empty());
  EXPECT_TRUE(Listed(store).empty());
}

TEST_P(S3Engine, ListsWhatIsUnfinishedAndFreesItWithTheBlob) {
  S3BlobStore& store = Open();
  StringSource source(large_);
  auto staged = store.Stage(id_, source, std::nullopt);
  ASSERT_OK(staged);
  EXPECT_THAT(Unfinished(store), ::testing::ElementsAre(id_));
  // As if another process had begun it.
  EXPECT_THAT(store.Delete(id_), IsOkAndHolds(false));
  EXPECT_TRUE(Unfinished(store).empty());
  EXPECT_THAT((*staged)->Commit(), HasReason(Reason::kBackendDown));
}

TEST_P(S3Engine, DoesNotStoreALargeBlobInThePlaceOfAnother) {
  S3BlobStore& store = Open();
  ASSERT_OK(Put(store, id_, small_));
  const absl::Status stored = Put(store, id_, large_).status();
  // Ceph ignores the condition where an upload of parts is completed: there it hangs on ids that
  // are used once.
  if (GetParam().replaces_on_completion()) {
    EXPECT_OK(stored);
  } else {
    EXPECT_THAT(stored, HasReason(Reason::kStorageIo));
    EXPECT_TRUE(Read(store, id_) == small_);
  }
}

TEST_P(S3Engine, StoresThoughTheStoreIsBusyAtFirst) {
  S3BlobStore& store = Open();
  for (const int status : {500, 503}) {
    for (const std::string what : {"PUT ", "POST ", "HEAD ", "partNumber=", "uploadId="}) {
      Disturb(what, 3,
              {.answer = ErrorAnswer(status, status == 503 ? "SlowDown" : "InternalError")});
      EXPECT_THAT(Put(store, id_, large_), IsOkAndHolds(std::ssize(large_))) << what;
      EXPECT_TRUE(Read(store, id_) == large_) << what;
      EXPECT_THAT(store.Delete(id_), IsOkAndHolds(true));
    }
  }
  EXPECT_TRUE(Unfinished(store).empty());
}

TEST_P(S3Engine, StoresThoughAnswersAreLost) {
  S3BlobStore& store = Open();
  for (const std::string& bytes : {small_, large_}) {
    for (const std::string what : {"PUT ", "POST ", "HEAD ", "?uploadId="}) {
      for (const int64_t passes : {0, 20, 200}) {
        Disturb(what, 1, {.answer_bytes = passes});
        EXPECT_THAT(Put(store, id_, bytes), IsOkAndHolds(std::ssize(bytes))) << what << passes;
        EXPECT_TRUE(Read(store, id_) == bytes) << what;
        EXPECT_EQ(Listed(store).size(), 1u);
        EXPECT_THAT(store.Delete(id_), IsOkAndHolds(true));
      }
    }
  }
  EXPECT_TRUE(Unfinished(store).empty());
}

TEST_P(S3Engine, StoresThoughBodiesAreCut) {
  S3BlobStore& store = Open();
  for (const std::string& bytes : {small_, large_}) {
    for (const int64_t passes : {0, 1, 100'000, 299'999}) {
      Disturb("PUT ", 2, {.request_bytes = passes});
      EXPECT_THAT(Put(store, id_, bytes), IsOkAndHolds(std::ssize(bytes))) << passes;
      EXPECT_TRUE(Read(store, id_) == bytes) << passes;
      EXPECT_THAT(store.Delete(id_), IsOkAndHolds(true));
    }
  }
  EXPECT_TRUE(Unfinished(store).empty());
}

TEST_P(S3Engine, StoresOnceThoughRequestsAreRepeated) {
  S3BlobStore& store = Open();
  for (const std::string& bytes : {small_, large_}) {
    Disturb("", 1000, {.is_repeated = true});
    EXPECT_THAT(Put(store, id_, bytes), IsOkAndHolds(std::ssize(bytes)));
    EXPECT_TRUE(Read(store, id_) == bytes);
    EXPECT_THAT(store.Delete(id_), IsOkAndHolds(true));
    // What stored it may have come again after that: a sweep deletes a second time, too.
    proxy_.WaitUntilRepeated();
    EXPECT_OK(store.Delete(id_));
    EXPECT_THAT(store.Open(id_), StatusIs(absl::StatusCode::kNotFound));
  }
}

TEST_P(S3Engine, ReadsThoughAnswersAreCutOrLate) {
  S3BlobStore& store = Open();
  ASSERT_OK(Put(store, id_, large_));
  for (const int64_t passes : {0, 100, 1000, 100'000, 250'000}) {
    Disturb("GET ", 5, {.answer_bytes = passes});
    EXPECT_TRUE(Read(store, id_) == large_) << passes;
  }
  Disturb("GET ", 3, {.delay = absl::Milliseconds(300)});
  EXPECT_TRUE(Read(store, id_) == large_);
}

TEST_P(S3Engine, DeletesAndListsThoughAnswersAreLost) {
  S3BlobStore& store = Open();
  for (const std::string what : {"HEAD ", "DELETE ", "GET "}) {
    ASSERT_OK(Put(store, id_, small_));
    Disturb(what, 2, {.answer_bytes = 10});
    EXPECT_EQ(Listed(store).size(), 1u);
    EXPECT_THAT(store.Delete(id_), IsOkAndHolds(true)) << what;
    EXPECT_TRUE(Listed(store).empty());
  }
}

TEST_P(S3Engine, CompletesThoughTheStoreSaysAtFirstThatItCannot) {
  S3BlobStore& store = Open();
  // A good status comes before the store knows.
  const auto left = std::make_shared<std::atomic<int>>(2);
  proxy_.set_plan([left](absl::string_view request) {
    const bool completes =
        absl::StartsWith(request, "POST ") && absl::StrContains(request, "uploadId=");
    return completes && --*left >= 0 ? Fault{.answer = ErrorAnswer(200, "InternalError")} : Fault{};
  });
  EXPECT_THAT(Put(store, id_, large_), IsOkAndHolds(std::ssize(large_)));
  EXPECT_TRUE(Read(store, id_) == large_);
}

TEST_P(S3Engine, GivesUpInTimeAndStoresNothing) {
  S3BlobStore::Options options = TestOptions(GetParam(), proxy_.endpoint());
  options.client.retries.timeout = absl::Seconds(1);
  S3BlobStore& store = Open(options);
  const auto begin = std::chrono::steady_clock::now();
  Disturb("PUT ", 1'000'000, {.answer = ErrorAnswer(503, "SlowDown")});
  EXPECT_THAT(Put(store, id_, small_), HasReason(Reason::kOverloaded));
  EXPECT_THAT(Put(store, id_, large_), HasReason(Reason::kOverloaded));
  Disturb("PUT ", 1'000'000, {.answer = ErrorAnswer(500, "InternalError")});
  EXPECT_THAT(Put(store, id_, small_), HasReason(Reason::kBackendDown));
  // Nobody answers at all.
  Disturb("PUT ", 1'000'000, {.answer = "HTTP/1.1 200", .delay = absl::Seconds(5)});
  EXPECT_THAT(Put(store, id_, small_), HasReason(Reason::kBackendDown));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  proxy_.set_plan(nullptr);
  EXPECT_TRUE(Listed(store).empty());
  EXPECT_TRUE(Unfinished(store).empty());
  EXPECT_OK(Put(store, id_, small_));
}

TEST_P(S3Engine, TellsAFullStoreAndAWrongClock) {
  S3BlobStore& store = Open();
  Disturb("PUT ", 1, {.answer = ErrorAnswer(403, "QuotaExceeded")});
  EXPECT_THAT(Put(store, id_, small_), HasReason(Reason::kStorageFull));
  Disturb("PUT ", 1,
          {.answer = ErrorAnswer(403, "RequestTimeTooSkewed",
                                 "<ServerTime>2020-01-01T00:00:00Z</ServerTime>")});
  EXPECT_THAT(Put(store, id_, small_).status(),
              AllOf(HasReason(Reason::kBackendDown),
                    Property(&absl::Status::message,
                             ::testing::ResultOf([](absl::string_view m) { return std::string(m); },
                                                 HasSubstr("ahead of the store's: set it")))));
}

TEST_P(S3Engine, DoesNotTakeABucketThatIsGoneForMissingBlobs) {
  S3BlobStore& store = Open();
  ASSERT_OK(Put(store, id_, small_));
  Disturb("", 1'000'000, {.answer = ErrorAnswer(404, "NoSuchBucket")});
  EXPECT_THAT(store.Open(id_), HasReason(Reason::kBackendDown));
  EXPECT_THAT(store.Delete(id_), HasReason(Reason::kBackendDown));
  EXPECT_THAT(Put(store, id_, small_), HasReason(Reason::kBackendDown));
}

TEST_P(S3Engine, DoesNotOpenWithWrongCredentialsOrWithoutABucket) {
  Credentials wrong = GetParam().credentials;
  wrong.secret_key += "x";
  const auto refused = S3BlobStore::Open(TestOptions(GetParam()), FixedCredentials(wrong), kClock);
  EXPECT_THAT(refused, HasReason(Reason::kBackendDown));
  EXPECT_FALSE(absl::StrContains(refused.status().message(), wrong.secret_key));
  S3BlobStore::Options options = TestOptions(GetParam());
  options.client.location.bucket = "backup-test-none";
  EXPECT_THAT(S3BlobStore::Open(options, FixedCredentials(GetParam().credentials), kClock),
              HasReason(Reason::kBackendDown));
}

TEST_P(S3Engine, ReadsCredentialsAnewThatAreExchanged) {
  const TempFolder folder;
  CredentialsOptions from;
  from.file = folder.path() + "/credentials";
  from.reload_interval = std::chrono::milliseconds::zero();
  const auto write = [&](const std::string& secret) {
    std::ofstream(from.file) << "[default]\naws_access_key_id = "
                             << GetParam().credentials.access_key
                             << "\naws_secret_access_key = " << secret << "\n";
  };
  write(GetParam().credentials.secret_key);
  const auto store = S3BlobStore::Open(TestOptions(GetParam(), proxy_.endpoint()),
                                       CredentialsSource::Open(from).value(), kClock)
                         .value();
  ASSERT_OK(Put(*store, id_, small_));
  // What the process has is refused; what is in the file is no better as yet.
  Disturb("", 1, {.answer = ErrorAnswer(403, "InvalidAccessKeyId")});
  EXPECT_THAT(store->Open(id_), HasReason(Reason::kBackendDown));
  write("wrong");
  Disturb("", 1, {.answer = ErrorAnswer(403, "InvalidAccessKeyId")});
  EXPECT_THAT(store->Open(id_), HasReason(Reason::kBackendDown));
  write(GetParam().credentials.secret_key);
  EXPECT_TRUE(Read(*store, id_) == small_);
}

TEST_P(S3Engine, FindsTheBucketByItsNameInTheHost) {
  S3BlobStore::Options options = TestOptions(GetParam());
  options.client.location.endpoint = absl::StrCat("http://localhost:", GetParam().port);
  options.client.location.addressing = Location::Addressing::kVirtual;
  S3BlobStore& store = Open(options);
  ASSERT_OK(Put(store, id_, large_));
  EXPECT_TRUE(Read(store, id_) == large_);
  EXPECT_THAT(Listed(store), ::testing::ElementsAre(id_));
}

TEST_P(S3Engine, BelongsToOneInstallation) {
  S3BlobStore& store = Open();
  EXPECT_TRUE(store.FindMarkers().value().empty());
  EXPECT_OK(store.Claim({"one", kFirst}, /*is_new=*/true));
  EXPECT_OK(store.Claim({"one", kSecond}, /*is_new=*/false));
  EXPECT_THAT(store.Claim({"two", kThird}, /*is_new=*/true),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  const std::vector<Marker> markers = store.FindMarkers().value();
  ASSERT_EQ(markers.size(), 1u);
  EXPECT_EQ(markers[0].installation, "one");
  EXPECT_EQ(markers[0].holder, kSecond);
  EXPECT_TRUE(Listed(store).empty());
  EXPECT_THAT(store.HasBlobs(), IsOkAndHolds(false));
  ASSERT_OK(Put(store, id_, small_));
  EXPECT_THAT(store.HasBlobs(), IsOkAndHolds(true));
}

TEST_P(S3Engine, StoresAndDeletesNothingThatAnotherHolds) {
  S3BlobStore& store = Open();
  ASSERT_OK(store.Claim({"one", kFirst}, /*is_new=*/true));
  ASSERT_OK(Put(store, id_, small_));
  const auto later = OpenStore(GetParam(), store_options_);
  ASSERT_OK(later->Claim({"one", kSecond}, /*is_new=*/false));
  store.Watch("one", [](const std::string& holder) { return holder == kFirst; });
  EXPECT_THAT(Put(store, storage::IdOf<BlobId>(1), small_), HasReason(Reason::kBackendDown));
  EXPECT_THAT(store.Delete(id_), HasReason(Reason::kBackendDown));
  // Nor does it take what the other deleted for missing.
  EXPECT_TRUE(Read(store, id_) == small_);
  EXPECT_THAT(later->Delete(id_), IsOkAndHolds(true));
  EXPECT_THAT(store.Open(id_), HasReason(Reason::kBackendDown));
}

TEST_P(S3Engine, MissesNoBlobsWhereItsMarkerIsMissing) {
  S3BlobStore& store = Open();
  store.Watch("one", [](const std::string&) { return true; });
  EXPECT_THAT(store.Open(id_), HasReason(Reason::kBackendDown));
  EXPECT_THAT(store.Delete(id_), HasReason(Reason::kBackendDown));
}

TEST_P(S3Engine, StaysWithinItsMemory) {
  Metrics metrics;
  S3BlobStore::Options options = TestOptions(GetParam());
  options.client.metrics = S3Metrics(metrics);
  options.max_upload_bytes = 24 << 20;
  options.max_read_ahead_bytes = 6 << 20;
  S3BlobStore& store = Open(options);
  const std::string bytes = PseudoRandomBytes(20 << 20);
  std::vector<std::jthread> threads;
  for (uint8_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      const BlobId id = storage::IdOf<BlobId>(t);
      // Where others are so slow that none has room soon enough, it is refused, as it should be.
      absl::StatusOr<int64_t> put = Put(store, id, bytes);
      for (int i = 0; i < 20 && ReasonOf(put.status()) == Reason::kOverloaded; ++i)
        put = Put(store, id, bytes);
      EXPECT_THAT(put, IsOkAndHolds(std::ssize(bytes)));
      EXPECT_TRUE(Read(store, id) == bytes);
    });
  }
  threads.clear();
  // What they wanted was more.
  EXPECT_GT(store.upload_memory().most(), options.max_upload_bytes / 2);
  EXPECT_LE(store.upload_memory().most(), options.max_upload_bytes);
  // Beside the first 256 KiB of each.
  EXPECT_LE(store.read_memory().most(), options.max_read_ahead_bytes + (int64_t{6} << 20));
  EXPECT_THAT(metrics.Text(), AllOf(HasSubstr("backup_s3_upload_bytes 0\n"),
                                    HasSubstr("backup_s3_read_ahead_bytes 0\n")));
  EXPECT_TRUE(Unfinished(store).empty());
}

INSTANTIATE_TEST_SUITE_P(S3, S3Engine, ::testing::ValuesIn(EnginesForTests()), NameOf);

}  // namespace
}  // namespace backup::storage::s3
