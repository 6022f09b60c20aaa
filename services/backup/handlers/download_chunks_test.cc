// Content that is kept in chunks comes back, wherever the chunks are by then.
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/chunk_digest.h"
#include "content/compression.h"
#include "crypto/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/download_file.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using storage::StorageForm;
using storage::StoredChunk;
using testing::DownloadOf;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::MemoryService;
using testing::PseudoRandomBytes;
using Request = v1::DownloadFileRequest;

class DownloadChunksTest : public ::testing::Test {
 protected:
  DownloadChunksTest() {
    service_.uploads.compression.when = content::CompressionPolicy::When::kNever;
    EXPECT_OK(service_.ledger.Renew());
  }

  Request Of(const std::string& name, int64_t version) const {
    return DownloadOf(client_.id, name, version);
  }
  std::vector<StoredChunk> ChunksOf(const std::string& name, int64_t version) {
    return service_.ChunksOf(service_.Stored(client_.id, name, version));
  }
  absl::StatusOr<std::string> DownloadRange(const std::string& name, int64_t version,
                                            int64_t offset, int64_t size) {
    Request request = Of(name, version);
    request.set_offset_bytes(offset);
    request.set_limit_bytes(size);
    return service_.Download(request);
  }
  void Flip(const BlobId& pack, int64_t at) {
    std::string bytes = service_.BlobBytes(pack);
    char& hit = bytes[static_cast<size_t>(at)];
    hit = static_cast<char>(hit ^ 1);
    service_.ReplaceBlob(pack, bytes);
  }

  // Does what a rewriting job does: puts all (plain) packs into new ones; the old ones go.
  void RewriteAll() {
    const auto packs = service_.catalog.Read(
        [](storage::Snapshot& snapshot) { return snapshot.ListPacks(0, 1000); });
    ASSERT_OK(packs);
    for (const storage::PackInfo& pack : *packs) {
      storage::NewPack copy;
      const auto id = service_.ledger.Take();
      ASSERT_OK(id);
      copy.blob_id = *id;
      // In another place, too.
      StringSource bytes("moved" + service_.BlobBytes(pack.blob_id));
      const auto size = service_.memory_blobs.Put(copy.blob_id, bytes, std::nullopt);
      ASSERT_OK(size);
      copy.size_bytes = *size;
      const auto chunks = service_.catalog.Read([&](storage::Snapshot& snapshot) {
        return snapshot.ListPackChunks(pack.pack, -1, 1000);
      });
      ASSERT_OK(chunks);
      for (const StoredChunk& chunk : *chunks) {
        copy.chunks.push_back({chunk.ref.id, chunk.ref.size_bytes, chunk.offset + 5,
                               chunk.stored_size, chunk.index, chunk.coding, false});
      }
      ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
        return transaction.RewritePacks({pack.pack}, {copy});
      }));
    }
    service_.Sweep();
  }
  // Makes it happen when the next pack is opened.
  void BeforeNextOpen(std::function<void()> what) {
    service_.blobs.before_open = [this, what = std::move(what)](const BlobId&) {
      service_.blobs.before_open = [](const BlobId&) {};
      what();
    };
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

TEST_F(DownloadChunksTest, GivesAnyRangeHoweverItIsKept) {
  std::mt19937 random(1);
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    for (const auto when :
         {content::CompressionPolicy::When::kNever, content::CompressionPolicy::When::kAlways}) {
      service_.uploads.form = form;
      service_.uploads.compression.when = when;
      const std::string plain = PseudoRandomBytes(3'000'000, random()) +
                                std::string(9'000'000, 'z') + PseudoRandomBytes(100'000, random());
      const int64_t version = service_.Store(client_.id, "file", plain);
      EXPECT_GT(ChunksOf("file", version).size(), 3u);
      for (int i = 0; i < 20; ++i) {
        const size_t offset = random() % plain.size();
        const size_t size = 1 + random() % (i % 2 == 0 ? 1000 : plain.size());
        Request request = Of("file", version);
        request.set_offset_bytes(static_cast<int64_t>(offset));
        request.set_limit_bytes(static_cast<int64_t>(size));
        request.set_caller_verifies(i % 3 == 0);
        const auto read = service_.Download(request);
        ASSERT_OK(read);
        EXPECT_TRUE(*read == plain.substr(offset, size)) << offset << " " << size;
      }
      const auto whole = service_.Download(Of("file", version));
      ASSERT_OK(whole);
      EXPECT_TRUE(*whole == plain);
    }
  }
}

TEST_F(DownloadChunksTest, GoesOnIfItsPacksAreRewrittenAndDropped) {
  const std::string beginning = PseudoRandomBytes(4'000'000);
  service_.Store(client_.id, "beginning", beginning);
  const std::string plain = beginning + PseudoRandomBytes(9'000'000, 2);
  const int64_t version = service_.Store(client_.id, "file", plain);
  EXPECT_EQ(service_.BlobCount(), 2);
  // Before the first pack is open,
  BeforeNextOpen([&] { RewriteAll(); });
  EXPECT_THAT(service_.Download(Of("file", version)), IsOkAndHolds(plain));
  EXPECT_EQ(service_.BlobCount(), 2);
  // and when some of it was read.
  const auto download = DownloadFile(service_.stored_places, service_.stages, Of("file", version));
  ASSERT_OK(download);
  absl::StatusOr<absl::string_view> piece = download->bytes->Read();
  ASSERT_OK(piece);
  std::string read(*piece);
  RewriteAll();
  while (true) {
    piece = download->bytes->Read();
    ASSERT_OK(piece);
    if (piece->empty()) break;
    read.append(piece->data(), piece->size());
  }
  EXPECT_TRUE(read == plain);
  for (const StoredChunk& chunk : ChunksOf("file", version)) {
    EXPECT_FALSE(chunk.is_damaged);
  }
}

TEST_F(DownloadChunksTest, FindsWhatWasMovedIntoChunksMeanwhile) {
  service_.uploads.inline_blob_limit = 0;
  const std::string plain = PseudoRandomBytes(2'000'000);
  const int64_t version = service_.StoreWhole(client_.id, "file", plain, StorageForm::kPlain);
  const int64_t other = service_.Store(client_.id, "other", plain);
  const storage::Content old = service_.Stored(client_.id, "file", version).content;
  BeforeNextOpen([&] {
    storage::NewChunks known;
    for (const StoredChunk& chunk : ChunksOf("other", other)) known.recipe.push_back(chunk.ref);
    EXPECT_THAT(service_.catalog.Run([&](storage::Transaction& transaction) {
      return transaction.ReplaceContent(version, old, known);
    }),
                IsOkAndHolds(true));
    service_.Sweep();
  });
  EXPECT_THAT(service_.Download(Of("file", version)), IsOkAndHolds(plain));
}

TEST_F(DownloadChunksTest, TheSameBytesAgainHealAllVersionsThatHaveThem) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    for (const bool is_gone : {false, true}) {
      service_.uploads.form = form;
      const std::string name = absl::StrCat("file ", static_cast<int>(form), is_gone);
      const std::string plain =
          PseudoRandomBytes(4'000'000, static_cast<uint32_t>(form) * 2 + (is_gone ? 1 : 0));
      const int64_t first = service_.Store(client_.id, name, plain);
      const int64_t second = service_.Store(client_.id, name, plain + "and more");
      const std::vector<StoredChunk> chunks = ChunksOf(name, first);
      ASSERT_GE(chunks.size(), 3u);
      const StoredChunk& hit = chunks[1];
      if (is_gone) {
        ASSERT_OK(service_.memory_blobs.Delete(hit.pack_blob));
      } else {
        Flip(hit.pack_blob, hit.offset + hit.stored_size - 1);
      }
      for (const int64_t version : {first, second}) {
        const absl::Status found = service_.Download(Of(name, version)).status();
        EXPECT_THAT(found, HasReason(Reason::kBlobDamaged));
        EXPECT_EQ(SubjectOf(found), name);
        EXPECT_THAT(found.message(), HasSubstr("the chunk at byte "));
      }
      if (!is_gone) {
        EXPECT_THAT(DownloadRange(name, first, hit.offset_in_content, 1),
                    HasReason(Reason::kBlobDamaged));
        EXPECT_TRUE(ChunksOf(name, first)[1].is_damaged);
        EXPECT_THAT(DownloadRange(name, first, 0, hit.offset_in_content),
                    IsOkAndHolds(plain.substr(0, static_cast<size_t>(hit.offset_in_content))));
        // Nothing else was taken for damaged.
        EXPECT_FALSE(ChunksOf(name, first)[0].is_damaged);
      } else {
        // Each chunk that is looked for is found to be gone.
        for (const StoredChunk& chunk : chunks)
          EXPECT_FALSE(DownloadRange(name, first, chunk.offset_in_content, 1).ok());
      }
      const KnownClient other = service_.MakeClient(name);
      service_.Store(other.id, "again", plain);
      EXPECT_THAT(service_.Download(Of(name, first)), IsOkAndHolds(plain));
      // Its last chunk, another one, is in a pack of its own.
      EXPECT_THAT(service_.Download(Of(name, second)), IsOkAndHolds(plain + "and more"));
    }
  }
}

TEST_F(DownloadChunksTest, TheSameBytesAgainHealWhatIsInTheCatalog) {
  const content::ChunkIdKey id_key = service_.store_keys.IdKey(storage::StorageForm::kPlain);
  storage::NewChunks chunks;
  storage::InlineChunk chunk;
  chunk.ref = {content::ChunkIdOf(id_key, "content"), 7};
  chunk.payload = "Content";
  chunks.inlined.push_back(chunk);
  chunks.recipe.push_back(chunk.ref);
  storage::Version version;
  version.client_id = *ParseClientId(client_.id);
  version.file_name = "file";
  version.version_id = *service_.version_ids.Take();
  version.size_bytes = 7;
  crypto::Sha256 hash;
  hash.Update("content");
  version.sha256 = hash.Finish();
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.AddVersion(version, chunks, {});
  }));
  EXPECT_THAT(service_.Download(Of("file", version.version_id)), HasReason(Reason::kBlobDamaged));
  service_.Store(client_.id, "again", "content");
  EXPECT_THAT(service_.Download(Of("file", version.version_id)), IsOkAndHolds("content"));
}

// Who compares the whole himself is not made to wait for it to be done twice.
TEST_F(DownloadChunksTest, LeavesDigestsToACallerWhoVerifies) {
  const std::string plain = PseudoRandomBytes(2'000'000);
  const int64_t version = service_.Store(client_.id, "file", plain);
  const StoredChunk hit = ChunksOf("file", version).front();
  Flip(hit.pack_blob, hit.offset);
  Request request = Of("file", version);
  request.set_caller_verifies(true);
  const auto read = service_.Download(request);
  ASSERT_OK(read);
  EXPECT_TRUE(*read != plain);
  EXPECT_FALSE(ChunksOf("file", version).front().is_damaged);
}

// A long content of which not everything is open yet.
TEST_F(DownloadChunksTest, EndsWithVersionNotFoundIfItIsDeletedAndGoneMeanwhile) {
  const int64_t version = service_.Store(client_.id, "file", PseudoRandomBytes(3'000'000));
  BeforeNextOpen([&] {
    ASSERT_OK(service_.Delete(client_.id, "file", version));
    ASSERT_OK(service_.catalog.Run(
        [](storage::Transaction& transaction) { return transaction.ReleaseRecipes(1000); }));
    const auto packs = service_.catalog.Read(
        [](storage::Snapshot& snapshot) { return snapshot.ListPacks(0, 1000); });
    ASSERT_OK(packs);
    for (const storage::PackInfo& pack : *packs)
      ASSERT_OK(service_.memory_blobs.Delete(pack.blob_id));
  });
  EXPECT_THAT(service_.Download(Of("file", version)), HasReason(Reason::kVersionNotFound));
}

}  // namespace
}  // namespace backup::handlers
