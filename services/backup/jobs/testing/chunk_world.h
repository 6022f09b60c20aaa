#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/stage_resources.h"
#include "content/pack_builder.h"
#include "content/pack_footer.h"
#include "content/store_keys.h"
#include "crypto/key_ring.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/job.h"
#include "services/backup/jobs/move_contents.h"
#include "services/backup/jobs/repack.h"
#include "storage/blob_ledger.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/stock.h"
#include "storage/chunk_cache.h"

namespace backup::jobs {

// Where state is kept, in memory or on a disk.
struct Medium {
  std::unique_ptr<storage::Catalog> catalog;
  std::unique_ptr<storage::BlobStore> blobs;
  std::string sealed_secret = {};  // Of the store, for content that was stored before; empty: new.
  int processes = 0;               // That were there before, each with an owner's id of its own.
};

// Passes calls on to another catalog and another blob store until the process is to die: from then
// on nothing is changed any more, and every call fails, unless the process dies indeed.
// Thread-safe, but for After() and what is set.
class Death {
 public:
  enum class When { kBefore, kAfter };  // The last call takes effect or not.
  static constexpr int kNever = 1 << 30;

  // If it is set, it is called when it has come, on the thread that it meets, and ends the process:
  // of a transaction that does not happen when its work is done and not committed.
  std::function<void(absl::string_view point)> comes;

  // After so many calls that change something; never if not called.
  void After(int calls, When when) {
    left_ = calls;
    when_ = when;
  }
  bool has_come() const { return left_ <= 0; }
  void Come(absl::string_view point) const {
    if (comes) comes(point);
  }

  // Counts a call that changes something: whether it takes effect, and whether its caller is told.
  struct Fate {
    bool happens = true;
    bool is_told = true;
    bool is_last = false;  // Of the process.
  };
  Fate Next() {
    const int left = left_.fetch_sub(1);
    if (left <= 0) return {false, false, false};
    if (left > 1) return {true, true, false};
    return {when_ == When::kAfter, false, true};
  }

 private:
  std::atomic<int> left_ = kNever;
  When when_ = When::kBefore;
};

class MortalCatalog final : public storage::Catalog {
 public:
  MortalCatalog(storage::Catalog& catalog, Death& death) : catalog_(catalog), death_(death) {}
  void Submit(Work work, Done done) override;

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    return catalog_.Read([&](storage::Snapshot& snapshot) { return read(snapshot); });
  }
  // The last one of a process that dies indeed.
  void SubmitLast(Work work, bool happens);

  storage::Catalog& catalog_;
  Death& death_;
};

class MortalBlobStore final : public storage::BlobStore {
 public:
  MortalBlobStore(storage::BlobStore& store, Death& death) : store_(store), death_(death) {}

  std::function<void(const BlobId&)> before_open = [](const BlobId&) {};
  std::function<void()> after_commit = [] {};  // Before the caller knows.
  absl::Status put_error;                      // OK: nothing is wrong.
  std::optional<BlobId> unreadable;            // The medium does not give it.
  absl::Status open_error = MakeError(Reason::kStorageIo, "the medium is broken");  // Of that.

  absl::StatusOr<std::unique_ptr<storage::StagedBlob>> Stage(
      const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override {
    const auto hook = before_open;  // Which may put another one in its place.
    hook(id);
    if (unreadable == id) return open_error;
    return store_.Open(id);
  }
  absl::StatusOr<bool> Delete(const BlobId& id) override;
  absl::Status List(
      const std::function<absl::Status(const storage::BlobInfo&)>& visit) const override {
    return store_.List(visit);
  }

 private:
  storage::BlobStore& store_;
  Death& death_;
};

struct HowStored {
  storage::StorageForm form = storage::StorageForm::kPlain;
  bool compressed = false;
  bool waits = false;
  bool for_client = false;     // Ids are of the client's own key.
  size_t chunks_per_pack = 0;  // 0: as many as there are.
};

// A store with content in chunks, and what should be in it. Those methods that return a value die
// if they fail. Used by one thread at a time.
class ChunkWorld {
 public:
  // An upload that has looked up what is known, and stored what is not.
  struct Upload {
    storage::Version version;
    std::string plain;
    storage::NewChunks content;
  };
  explicit ChunkWorld(Medium medium);
  ~ChunkWorld();

  // The next process begins: what the last one had in flight is dropped.
  void Restart();

  // What an upload of this file is to add.
  storage::Version NewVersion(const std::string& file_name, const std::string& plain,
                              storage::StorageForm form);
  Upload Begin(const std::string& file_name, const std::vector<std::string>& chunks,
               const HowStored& how = {});
  // Adds the version; what came of it.
  absl::Status Finish(const Upload& upload);
  // Both.
  void Store(const std::string& file_name, const std::vector<std::string>& chunks,
             const HowStored& how = {});
  // As older programs did, payload and footer: small content in the catalog, else in a blob.
  void StoreWhole(const std::string& file_name, const std::string& plain,
                  storage::StorageForm form);
  // With what the sweep does then, or without.
  void Delete(const std::string& file_name);
  void DeleteVersions(const std::string& file_name);
  // With all that it has left, for good.
  void DeleteClient();
  absl::StatusOr<std::string> Read(const std::string& file_name);
  // Whether everything that was stored, and not deleted, is there, and told.
  void ExpectAllIsThere();
  // Whether of each of these that brought a pack the packs tell the name, the digest and the
  // recipe.
  void ExpectAllIsTold();
  // And that nothing else is: no blobs but the packs, none of them with much garbage.
  void ExpectNothingElseIsThere();

  // Runs `job` to its end; returns what it counted. An error is returned, too.
  absl::StatusOr<int64_t> Run(Job& job);
  // Runs `job`, again and again, until there is nothing to be done for it.
  absl::Status RunUntilIdle(Job& job);
  absl::StatusOr<int64_t> RunRepack();
  absl::StatusOr<int64_t> RunMove();
  absl::Status Sweep();

  std::vector<storage::PackInfo> Packs();
  storage::Counts Count();
  std::vector<storage::StoredChunk> ChunksOf(const std::string& file_name);
  // Changes bytes of a blob.
  void Damage(const BlobId& id, int64_t offset);
  // Another process publishes that an upload of its own holds this epoch.
  void PublishOfAnother(int64_t epoch);
  int BlobCount();
  storage::Version VersionOf(const std::string& file_name);
  BlobId BlobOf(const std::string& file_name);
  const handlers::UploadResources& resources() { return *resources_; }
  content::Dictionaries& dictionaries() { return *dictionaries_; }
  handlers::StoredPlaces places() {
    return {*catalog, *blobs, master_key, *keys, *dictionaries_, &chunk_cache};
  }

  FakeClock clock{absl::FromUnixSeconds(1'700'000'000)};
  crypto::KeyRing master_key{std::string(32, 'k')};
  StageResources stages;
  Death death;
  storage::ChunkCache chunk_cache{1 << 20};
  Medium medium;  // Whose last transactions may touch what is above.
  std::unique_ptr<MortalCatalog> catalog;
  std::unique_ptr<MortalBlobStore> blobs;
  std::unique_ptr<storage::BlobLedger> ledger;
  std::unique_ptr<content::StoreKeys> keys;
  const crypto::KeyRing* packs_ring{&master_key};  // Seals the packs that Store() makes.
  handlers::UploadPolicy policy;
  ClientId client;
  std::map<std::string, std::string> expected;  // By file.
  std::set<std::string> told;                   // Files that are to be told of by packs.
  int64_t next_version = 1;

 private:
  storage::StoredVersion Newest(const std::string& file_name);
  storage::NewPack StorePack(content::PackBuilder& builder, content::PackFooter::Part part);

  int processes_;
  std::unique_ptr<storage::Stock<int64_t>> version_ids_;
  std::unique_ptr<content::Dictionaries> dictionaries_;
  std::unique_ptr<handlers::UploadResources> resources_;
  std::unique_ptr<MoveContents> move_;  // One for a process.
};

// Bytes that do not shrink, others with another seed, and bytes that do.
std::string RandomBytes(int seed, size_t size);
std::string TextBytes(int seed, size_t size);

}  // namespace backup::jobs
