// What is kept once, and what becomes of it when something goes wrong.
#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/pack_footer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/chunk_index.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/memory_service.h"
#include "storage/testing/faulty_blob_store.h"

namespace backup::handlers {
namespace {

using storage::ChunkList;
using storage::StorageForm;
using testing::EncryptAsClient;
using testing::HasReason;
using testing::HeaderOf;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::MemoryService;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;
using Header = v1::UploadFileHeader;

constexpr size_t kMiB = size_t{1} << 20;

class UploadChunksTest : public ::testing::Test {
 protected:
  UploadChunksTest() { EXPECT_OK(service_.ledger.Renew()); }

  Header Identity(const KnownClient& client, const std::string& plain) const {
    return HeaderOf(client.id, "file", Header::IDENTITY, plain);
  }
  // The version's id.
  int64_t Upload(const KnownClient& client, const std::string& plain) {
    const auto response = service_.Upload(Identity(client, plain), plain);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->version().version_id() : 0;
  }
  // Adds what was prepared; the version's id.
  int64_t Commit(UploadFile& upload) {
    const auto response = upload.Respond(service_.catalog.Run(
        [&](storage::Transaction& transaction) { return upload.Apply(transaction); }));
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->version().version_id() : 0;
  }
  ChunkList ChunksOf(const KnownClient& client, int64_t version_id) {
    return std::get<ChunkList>(service_.Stored(client.id, "file", version_id).content);
  }
  std::vector<storage::StoredChunk> List(const ChunkList& chunks) {
    return service_.catalog
        .Read([&](storage::Snapshot& snapshot) { return snapshot.ListChunks(chunks, 0, 10'000); })
        .value();
  }
  std::vector<storage::PackInfo> Packs() {
    return service_.catalog
        .Read([](storage::Snapshot& snapshot) { return snapshot.ListPacks(0, 10'000); })
        .value();
  }

  int64_t OldestEpoch() {
    return service_.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.OldestEpoch(); })
        .value();
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
  const KnownClient other_ = service_.MakeClient("desktop");
};

TEST_F(UploadChunksTest, KeepsTheSameLargeContentOnce) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    service_.uploads.form = form;
    const std::string plain = PseudoRandomBytes(5 * kMiB, static_cast<uint32_t>(form));
    const int before = service_.BlobCount();
    const int64_t first = Upload(client_, plain);
    EXPECT_EQ(service_.BlobCount(), before + 1);
    const int64_t second = Upload(client_, plain);
    const int64_t third = Upload(other_, plain);
    EXPECT_EQ(service_.BlobCount(), before + 1);
    const auto chunks = List(ChunksOf(client_, first));
    EXPECT_GT(chunks.size(), 1);
    for (const auto& [client, version] : {std::pair(client_, second), std::pair(other_, third)}) {
      const auto same = List(ChunksOf(client, version));
      ASSERT_EQ(same.size(), chunks.size());
      for (size_t i = 0; i < same.size(); ++i) {
        EXPECT_EQ(same[i].number, chunks[i].number);
        EXPECT_EQ(same[i].form, form);
      }
    }
  }
}

// As small content may equal a part of a large one, or was large content before the limit was
// raised.
TEST_F(UploadChunksTest, KeepsSmallContentItselfIfAPackThatHasItCannotBeOpened) {
  service_.uploads.form = StorageForm::kSealed;
  service_.master_key.Add(1, std::string(32, 'g'));
  service_.uploads.inline_blob_limit = 0;
  const std::string plain = PseudoRandomBytes(10'000);
  const std::string rest = PseudoRandomBytes(20'000);
  const int64_t first = Upload(client_, plain);
  const int64_t large = Upload(client_, rest);
  service_.master_key.Remove(1);
  const auto download = [&](const KnownClient& client, int64_t version) {
    v1::DownloadFileRequest request;
    request.set_client_id(client.id);
    request.set_file_name("file");
    request.set_version_id(version);
    return service_.Download(request);
  };
  EXPECT_THAT(download(client_, first), HasReason(Reason::kKeyMissing));
  service_.uploads.inline_blob_limit = 64 << 10;
  const int64_t second = Upload(other_, plain);
  EXPECT_THAT(download(other_, second), IsOkAndHolds(plain));
  // And so is what could not be read before; nothing else is.
  EXPECT_THAT(download(client_, first), IsOkAndHolds(plain));
  EXPECT_THAT(download(client_, large), HasReason(Reason::kKeyMissing));
  EXPECT_EQ(Packs().size(), 1);
  EXPECT_EQ(service_.Count().damaged_chunks, 0);
  // Where the key is at hand it is kept once.
  service_.master_key.Add(1, std::string(32, 'g'));
  EXPECT_THAT(download(other_, Upload(other_, rest)), IsOkAndHolds(rest));
  EXPECT_EQ(Packs().size(), 1);
  EXPECT_GT(Packs()[0].live_bytes, 0);
}

TEST_F(UploadChunksTest, KeepsTheSameContentOnceHoweverItComes) {
  const std::string plain = PseudoRandomBytes(3 * kMiB);
  Upload(client_, plain);
  const std::string encoded = EncryptAsClient(client_.session_key, plain);
  ASSERT_OK(
      service_.Upload(HeaderOf(client_.id, "file", Header::AES_CBC_ZERO_IV, encoded), encoded));
  EXPECT_EQ(service_.BlobCount(), 1);
}

// Only the end of such content tells whether it is small.
TEST_F(UploadChunksTest, KeepsContentOfUnknownSizeWhereOneOfThatSizeIsKept) {
  for (const bool has_room : {true, false}) {
    if (!has_room) {
      ASSERT_TRUE(service_.stages.pieces.TryTake(PieceBudget::kMaxBytes));
    }
    for (const int64_t limit : {int64_t{0}, int64_t{64} << 10, int64_t{1} << 20}) {
      service_.uploads.inline_blob_limit = limit;
      for (const int64_t size :
           {int64_t{1}, limit, limit + 1, limit + int64_t{300'000}, int64_t{3 * kMiB}}) {
        const std::string plain = PseudoRandomBytes(static_cast<size_t>(size),
                                                    static_cast<uint32_t>(size + limit + has_room));
        const std::string segment = EncryptAsClient(client_.session_key, plain);
        std::string sent;
        for (int shift = 0; shift < 32; shift += 8)
          sent += static_cast<char>(segment.size() >> shift);
        sent += segment;
        Header header = HeaderOf(client_.id, "file", Header::AES_CBC_ZERO_IV_SEGMENTS, "");
        header.set_segment_count(1);
        const auto response = service_.Upload(header, sent);
        ASSERT_OK(response) << size;
        const int64_t version = response->version().version_id();
        const auto chunks = List(ChunksOf(client_, version));
        if (size > 0) {
          EXPECT_EQ(chunks.front().pack == 0, size <= limit) << size << " of " << limit;
        }
        EXPECT_THAT(service_.Download(testing::DownloadOf(client_.id, "file", version)),
                    testing::IsOkAndHolds(plain));
      }
    }
  }
}

TEST_F(UploadChunksTest, KeepsTheSameSmallContentOnceAndLetsItGoWithItsLastVersion) {
  const std::string plain = "something small";
  const int64_t first = Upload(client_, plain);
  const int64_t second = Upload(other_, plain);
  EXPECT_EQ(service_.BlobCount(), 0);
  EXPECT_EQ(ChunksOf(client_, first), ChunksOf(other_, second));
  EXPECT_EQ(service_.Count().chunks, 1);
  ASSERT_OK(service_.Delete(client_.id, "file", first));
  EXPECT_EQ(service_.Count().chunks, 1);
  ASSERT_OK(service_.Delete(other_.id, "file", second));
  EXPECT_EQ(service_.Count().chunks, 0);
}

TEST_F(UploadChunksTest, SharesNothingBetweenClientsIfAskedTo) {
  service_.uploads.sharing = Sharing::kClient;
  for (const size_t size : {size_t{100}, 2 * kMiB}) {
    const std::string plain = PseudoRandomBytes(size);
    const ChunkList mine = ChunksOf(client_, Upload(client_, plain));
    const ChunkList others = ChunksOf(other_, Upload(other_, plain));
    EXPECT_NE(List(mine).front().ref.id, List(others).front().ref.id);
    EXPECT_EQ(List(mine).front().number,
              List(ChunksOf(client_, Upload(client_, plain))).front().number);
  }
  EXPECT_EQ(service_.BlobCount(), 2);
}

TEST_F(UploadChunksTest, StoresOnlyWhatHasChanged) {
  std::string plain = PseudoRandomBytes(20 * kMiB);
  Upload(client_, plain);
  plain[10 * kMiB] ^= 1;
  Upload(client_, plain);
  const auto packs = Packs();
  ASSERT_EQ(packs.size(), 2);
  EXPECT_LT(packs.back().size_bytes, packs.front().size_bytes / 2);
}

TEST_F(UploadChunksTest, FindsWhatIsThereWithoutAskingTheCatalogAgain) {
  const std::string plain = PseudoRandomBytes(20 * kMiB);
  Upload(client_, plain);
  Upload(client_, plain);
  EXPECT_GT(service_.chunk_cache.size_bytes(), 0);
  Upload(client_, plain);
  EXPECT_EQ(service_.BlobCount(), 1);
}

TEST_F(UploadChunksTest, BringsADamagedChunkAgain) {
  const std::string plain = PseudoRandomBytes(5 * kMiB);
  const ChunkList chunks = ChunksOf(client_, Upload(client_, plain));
  const storage::StoredChunk damaged = List(chunks)[1];
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.MarkDamaged(damaged.number, damaged.pack);
  }));
  Upload(client_, plain);
  EXPECT_EQ(service_.BlobCount(), 2);
  const storage::StoredChunk healed = List(chunks)[1];
  EXPECT_EQ(healed.number, damaged.number);
  EXPECT_NE(healed.pack, damaged.pack);
  EXPECT_FALSE(healed.is_damaged);
}

TEST_F(UploadChunksTest, BringsAChunkAgainThatWasFoundDamagedAfterItWasFoundByAnUpload) {
  const std::string plain = PseudoRandomBytes(5 * kMiB);
  const ChunkList chunks = ChunksOf(client_, Upload(client_, plain));
  Upload(client_, plain);
  MarkDamaged(service_.stored_places, List(chunks)[1]);
  Upload(client_, plain);
  EXPECT_EQ(service_.BlobCount(), 2);
  EXPECT_FALSE(List(chunks)[1].is_damaged);
}

// Who read it then may tell late.
TEST_F(UploadChunksTest, IsNotDamagedByWhatASmallFileWasBeforeItWasStoredAgain) {
  const ChunkList chunks = ChunksOf(client_, Upload(client_, "something small"));
  const storage::StoredChunk now = List(chunks)[0];
  ASSERT_EQ(now.pack, 0);
  storage::StoredChunk before = now;
  before.payload[0] ^= 1;
  const auto is_damaged = [&](const storage::StoredChunk& read) {
    MarkDamaged(service_.stored_places, read);
    EXPECT_OK(service_.catalog.Run([](storage::Transaction&) { return absl::OkStatus(); }));
    return List(chunks)[0].is_damaged;
  };
  EXPECT_FALSE(is_damaged(before));
  EXPECT_TRUE(is_damaged(now));
}

// A chunk that an upload has found may be found damaged before its version is added.
TEST_F(UploadChunksTest, FailsIfAChunkThatItFoundIsGoneAndDoesNotFailAgain) {
  const std::string plain = PseudoRandomBytes(5 * kMiB);
  const ChunkList chunks = ChunksOf(client_, Upload(client_, plain));
  const storage::StoredChunk damaged = List(chunks)[1];
  RandomCutSource source(plain, 100'000);
  auto upload = UploadFile::Prepare(service_.upload_resources, Identity(client_, plain), source);
  ASSERT_OK(upload);
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.MarkDamaged(damaged.number, damaged.pack);
  }));
  EXPECT_THAT(upload->Respond(service_.catalog.Run(
                  [&](storage::Transaction& transaction) { return upload->Apply(transaction); })),
              HasReason(Reason::kBackendDown));
  Upload(client_, plain);
  EXPECT_EQ(service_.BlobCount(), 2);
}

TEST_F(UploadChunksTest, TwoAtOnceOfTheSameNewContentAreKeptOnce) {
  const std::string plain = PseudoRandomBytes(5 * kMiB);
  RandomCutSource first_source(plain, 100'000);
  RandomCutSource second_source(plain, 100'000);
  auto first =
      UploadFile::Prepare(service_.upload_resources, Identity(client_, plain), first_source);
  auto second =
      UploadFile::Prepare(service_.upload_resources, Identity(other_, plain), second_source);
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_EQ(service_.BlobCount(), 2);
  const int64_t versions[] = {Commit(*first), Commit(*second)};
  service_.Sweep();
  EXPECT_EQ(service_.BlobCount(), 1);
  EXPECT_EQ(Packs().size(), 1);
  EXPECT_EQ(List(ChunksOf(client_, versions[0])).size(),
            List(ChunksOf(other_, versions[1])).size());
}

TEST_F(UploadChunksTest, StoresNothingIfOneOfItsPacksCannotBeStored) {
  using Fault = storage::FaultyBlobStore::Fault;
  const std::string plain = PseudoRandomBytes(70 * kMiB);
  const absl::Status error = MakeError(Reason::kStorageFull, "full");
  for (const Fault& fault :
       {Fault{.error = error, .after_calls = 1}, Fault{.error = error, .after_commits = 0},
        Fault{.error = error, .after_commits = 1}}) {
    storage::FaultyBlobStore full(service_.blobs, fault);
    const UploadResources& given = service_.upload_resources;
    const UploadResources resources{given.catalog,      full,
                                    given.ledger,       given.version_ids,
                                    given.master_key,   given.store_keys,
                                    given.dictionaries, given.chunk_cache,
                                    given.clock,        given.stages,
                                    given.policy};
    RandomCutSource source(plain, 1'000'000);
    EXPECT_THAT(StoreUpload(resources, Identity(client_, plain), source),
                HasReason(Reason::kStorageFull));
    EXPECT_EQ(service_.Count().versions, 0);
    service_.Sweep();
    EXPECT_EQ(service_.BlobCount(), 0);
    EXPECT_TRUE(Packs().empty());
  }
}

// On a full disk others need what they take.
TEST_F(UploadChunksTest, DeletesItsPacksAtOnceIfItsContentEndsTooSoon) {
  const std::string plain = PseudoRandomBytes(70 * kMiB);
  RandomCutSource source(plain.substr(0, 68 * kMiB), 1'000'000);
  EXPECT_THAT(StoreUpload(service_.upload_resources, Identity(client_, plain), source),
              HasReason(Reason::kInvalidField));
  EXPECT_EQ(service_.BlobCount(), 0);
  service_.Sweep();
  EXPECT_TRUE(Packs().empty());
}

TEST_F(UploadChunksTest, AnUploadUnderWayKeepsItsEpoch) {
  EXPECT_OK(service_.ledger.PublishNow());
  const std::string plain = PseudoRandomBytes(2 * kMiB);
  Upload(client_, plain);
  RandomCutSource source(plain, 100'000);
  auto upload = UploadFile::Prepare(service_.upload_resources, Identity(client_, plain), source);
  ASSERT_OK(upload);
  const int64_t pack = Packs().front().pack;
  const int64_t epoch =
      service_.catalog
          .Run([&](storage::Transaction& transaction) { return transaction.CondemnPacks({pack}); })
          .value();
  EXPECT_OK(service_.ledger.PublishNow());
  EXPECT_LT(OldestEpoch(), epoch);
  Commit(*upload);
  EXPECT_OK(service_.ledger.PublishNow());
  EXPECT_EQ(OldestEpoch(), epoch);
}

// Hands out a string, and stops in the middle for something to happen.
class StallingSource final : public ByteSource {
 public:
  StallingSource(const std::string& bytes, size_t stalls_at, std::function<void()> meanwhile)
      : rest_(bytes), left_(stalls_at), meanwhile_(std::move(meanwhile)) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (left_ == 0) std::exchange(meanwhile_, [] {})();
    const absl::string_view piece = rest_.substr(0, left_ > 0 ? std::min(left_, kPiece) : kPiece);
    left_ -= std::min(left_, piece.size());
    rest_.remove_prefix(piece.size());
    return piece;
  }

 private:
  static constexpr size_t kPiece = 100'000;

  absl::string_view rest_;
  size_t left_;
  std::function<void()> meanwhile_;
};

// What it found was dead, and is condemned while it sends nothing; and so is what it would find.
TEST_F(UploadChunksTest, ASlowOneKeepsWhatItFoundAndHoldsNothingElseBack) {
  for (const bool has_room : {true, false}) {
    if (!has_room) {
      ASSERT_TRUE(service_.stages.pieces.TryTake(PieceBudget::kMaxBytes));
    }
    const std::string plain = PseudoRandomBytes(7 * kMiB, 1 + has_room);
    ASSERT_OK(service_.Delete(client_.id, "file", Upload(client_, plain)));
    service_.Sweep();
    ASSERT_EQ(Packs().size(), 1);
    StallingSource source(plain, 5 * kMiB, [&] {
      ASSERT_OK(service_.ledger.SecureFound());
      const int64_t pack = Packs().front().pack;
      const int64_t epoch = service_.catalog
                                .Run([&](storage::Transaction& transaction) {
                                  return transaction.CondemnPacks({pack});
                                })
                                .value();
      ASSERT_OK(service_.ledger.PublishNow());
      EXPECT_LT(OldestEpoch(), epoch);
      ASSERT_OK(service_.ledger.SecureFound());
      EXPECT_EQ(OldestEpoch(), epoch);
      const int64_t live_bytes = Packs().front().live_bytes;
      EXPECT_GT(live_bytes, kMiB);
      EXPECT_LT(live_bytes, 6 * kMiB);
      ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
        return transaction.RewritePacks({pack}, {}).status();
      }));
      EXPECT_EQ(Packs().front().live_bytes, live_bytes);
    });
    const auto response = StoreUpload(service_.upload_resources, Identity(client_, plain), source);
    ASSERT_OK(response);
    const int64_t version = response->version().version_id();
    EXPECT_EQ(Packs().size(), 2);
    EXPECT_THAT(service_.Download(testing::DownloadOf(client_.id, "file", version)),
                testing::IsOkAndHolds(plain));
    // Nothing refers to it for the upload any more.
    ASSERT_OK(service_.Delete(client_.id, "file", version));
    service_.Sweep();
    for (const storage::PackInfo& pack : Packs()) EXPECT_EQ(pack.live_bytes, 0);
    ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(const auto packs, transaction.ListPacks(0, 100));
      for (const storage::PackInfo& pack : packs) {
        RETURN_IF_ERROR(transaction.CondemnPacks({pack.pack}).status());
        RETURN_IF_ERROR(transaction.RewritePacks({pack.pack}, {}).status());
      }
      return absl::OkStatus();
    }));
    EXPECT_TRUE(Packs().empty());
  }
}

TEST_F(UploadChunksTest, RefersToNothingThatAMissingGenerationOfKeysHasSealed) {
  const KnownClient client = service_.MakeClient("another laptop");
  service_.uploads.form = StorageForm::kSealed;
  const std::string plain = PseudoRandomBytes(kMiB);
  const int64_t first = Upload(client, plain);
  const auto before = service_.ChunksOf(service_.Stored(client.id, "file", first));
  crypto::KeyRing others;
  others.Add(1, std::string(32, 'n'));
  storage::ChunkCache cache(kMiB);
  storage::BlobLedger::Upload upload = service_.ledger.BeginUpload();
  CatalogChunkIndex index(service_.catalog, others, cache, upload);
  for (const storage::StoredChunk& chunk : before) {
    EXPECT_THAT(index.Knows(chunk.ref), testing::IsOkAndHolds(false));
    service_.chunk_cache.Forget(chunk.ref.id);
  }
  // What is brought then takes their place.
  Upload(client, plain);
  const auto after = service_.ChunksOf(service_.Stored(client.id, "file", first));
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_NE(after[i].pack, before[i].pack);
    EXPECT_FALSE(after[i].is_damaged);
  }
}

}  // namespace
}  // namespace backup::handlers
