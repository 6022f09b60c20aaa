// Random uploads, verdicts, deletions, reads, damage, jobs and crashes against a simple model of
// what must be there (testing/content_model.h): real catalog, real blob store, real handlers and
// jobs.
//
// MODEL_SEED (default: random, printed) and MODEL_STEPS (default 10000) repeat a run.

#include "services/backup/testing/content_model.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/testing/random_cut_source.h"
#include "content/blob_footer.h"
#include "content/dictionary.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/delete_client.h"
#include "services/backup/handlers/delete_version.h"
#include "services/backup/handlers/download_file.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/register_client.h"
#include "services/backup/handlers/report_transfer.h"
#include "services/backup/handlers/scrub.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backup/handlers/transact.h"
#include "services/backup/handlers/trash.h"
#include "services/backup/handlers/undelete_version.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/handlers/verify_store.h"
#include "services/backup/handlers/version_ids.h"
#include "services/backup/jobs/move_contents.h"
#include "services/backup/jobs/repack.h"
#include "services/backup/jobs/scrub.h"
#include "services/backup/jobs/sweep.h"
#include "services/backup/testing/crashing_blob_store.h"
#include "services/backup/testing/memory_service.h"
#include "services/backup/testing/told_versions.h"
#include "storage/chunk_cache.h"
#include "storage/local/local_blob_store.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/sqlite/testing/fault_vfs.h"
#include "storage/testing/memory_folder.h"

namespace backup::testing {
namespace {

using storage::FaultVfs;
using storage::Snapshot;
using storage::StoredChunk;
using storage::StoredVersion;
using Outcome = v1::ReportTransferRequest::Outcome;

constexpr int kCrashed = 77;  // Exit code of a process that ended as was planned.
constexpr int kFailed = 1;
constexpr int kStepsOfLife = 200;
constexpr unsigned kLifeDeadlineSeconds = 100;
constexpr int kPage = 100;
constexpr int kLevel = 3;  // zstd's.
constexpr size_t kSamples = 40;
constexpr int kJobBudget = 1000;
constexpr int kRoundsUntilEmpty = 10;
constexpr size_t kMaxPiece = 300'000;  // Of uploads.
constexpr int64_t kInlineLimitBefore = 64 << 10;
constexpr int kTries = 3;  // Of an upload.
// Of repack, which comes back to what it could not do because of uploads.
constexpr absl::Duration kPatience = absl::ZeroDuration();
constexpr int64_t kChunkCacheBytes = 16 << 10;  // Less than there is.

// Ends the process: the model in shared memory is the parent's to look at.
[[noreturn]] void Fail(absl::string_view what) {
  std::cerr << "content_model_test: " << what << std::endl;
  ::_exit(kFailed);
}
void Require(bool is_so, absl::string_view what) {
  if (!is_so) Fail(what);
}
void RequireOk(const absl::Status& status, absl::string_view what) {
  if (!status.ok()) Fail(absl::StrCat(what, ": ", status.ToString()));
}
template <typename T>
T ValueOf(absl::StatusOr<T> result, absl::string_view what) {
  RequireOk(result.status(), what);
  return *std::move(result);
}

// How one process does what it does, and how it ends.
struct Life {
  enum class End { kClosed, kDropped, kAtWrite, kAtSync, kAtBlobStep };

  End end = End::kClosed;
  int nth = 0;  // Write, sync or step.
  handlers::UploadPolicy uploads;

  static Life Random(std::mt19937_64& random) {
    Life life;
    life.end = static_cast<End>(random() % 5);
    life.nth = static_cast<int>(1 + random() % 400);
    life.uploads.form =
        random() % 3 == 0 ? storage::StorageForm::kSealed : storage::StorageForm::kPlain;
    constexpr std::array<int64_t, 3> kInlineLimits = {0, 1000, 64 << 10};
    life.uploads.inline_blob_limit = kInlineLimits[random() % kInlineLimits.size()];
    using When = content::CompressionPolicy::When;
    life.uploads.compression.when = static_cast<When>(random() % 3);
    life.uploads.sharing =
        random() % 4 == 0 ? handlers::Sharing::kClient : handlers::Sharing::kStore;
    return life;
  }
};

// A service without its server, which does random things and compares what comes of them with the
// model. Every check that fails ends the process.
class World {
 public:
  World(const std::string& dir, Model& model, const Life& life, uint64_t seed);

  // Finds out what became of calls whose end the process before did not see.
  void Resolve();
  void CheckAll();
  void Steps(int count);
  // Everything healed, verified, deleted; then nothing is left.
  void CheckEnd();
  // As a kill -9 between two instructions.
  [[noreturn]] void Crash() {
    MutexLock lock(mutex_);  // No part of the model is half written.
    ::_exit(kCrashed);
  }

 private:
  struct Place {
    int client = 0;
    int file = 0;
  };

  ModelClient& ClientOf(int client) { return model_.clients[static_cast<size_t>(client)]; }
  ModelFile& FileOf(const Place& place) {
    return ClientOf(place.client).files[static_cast<size_t>(place.file)];
  }
  ClientId IdOf(int client) { return *FromUuid<ClientId>(ClientOf(client).id.Get()); }
  static std::string NameOf(const Place& place) { return absl::StrCat("file ", place.file); }

  void Begin(const ModelCall& call);
  // `change` is what the call did, to be done to the model at the same time as the call ends.
  template <typename Change>
  void End(int client, const Change& change) {
    MutexLock lock(mutex_);
    change();
    model_.calls[static_cast<size_t>(client)].kind = ModelCall::Kind::kNone;
  }
  void Resolve(const ModelCall& call);

  void Step();
  void StepOf(int client, std::mt19937_64& random);
  void ManyAtOnce();
  // Whether every blob that nothing needed then is gone.
  bool RunJob(std::mt19937_64& random);
  void RunWhole(jobs::Job& job);
  // A whole cycle, after which what is damaged, and nothing else, is known to be so; what any other
  // version has is healed.
  void Scrub();
  // As the job `train`, for which the model's contents are too few.
  void TrainDictionary(std::mt19937_64& random);

  void Register(int client);
  void Upload(const Place& place, const ModelContent& content, std::mt19937_64& random);
  absl::StatusOr<v1::UploadFileResponse> Send(const v1::UploadFileHeader& header,
                                              const std::string& bytes);
  void StoreWhole(const Place& place, const ModelContent& content, std::mt19937_64& random);
  void Judge(const Place& place, const ModelVersion& version, Outcome outcome);
  void Delete(const Place& place, int64_t version_id);
  // Takes the version back that went into the trash last.
  void Undelete(const Place& place);
  // Removes what the client has in the trash, and itself if it is there.
  void RunPurge(const std::optional<ClientId>& client);
  void Purge(int client);
  void PurgeAll() {
    // What a process that ended left of a client, only a purge of all finds.
    RunPurge(std::nullopt);
    for (int client = 0; client < Model::kClients; ++client) Purge(client);
  }
  bool IsInTrash(const Place& place, int64_t version_id);
  void DeleteClient(int client);
  void Damage();

  absl::StatusOr<StoredVersion> Find(const Place& place, int64_t version_id);
  std::vector<StoredChunk> ChunksOf(const Place& place, int64_t version_id);
  std::set<std::string> DamagedUnknown();
  bool HasDamaged(const Place& place, int64_t version_id);
  // Whether it could be read.
  bool CheckVersion(const Place& place, const ModelVersion& version, int64_t offset);
  void CheckVersionsOf(const Place& place);
  void CheckCounts();
  // What quotas look at is what a recount tells.
  void CheckUsage();
  void CheckReferences();
  using Told = std::multimap<int64_t, ToldVersion>;
  int64_t NewestPack();
  int64_t NewestVersion();
  // Whether packs alone tell of it what the catalog does.
  bool IsTold(const Place& place, const ModelVersion& version, const Told& told);
  // Of versions above `after`, whose upload brought a pack.
  void RequireTold(int64_t after);
  // Of those that were told of before. Those that are from now on are noted if every blob that
  // nothing needs is gone.
  void CheckTold(bool is_swept);
  void Heal(const Place& place, std::mt19937_64& random);
  void Verify();
  void CheckNothingIsLeft();
  // Everything that was submitted until now is done.
  void Flush();

  template <typename Visit>
  void ForEachVersion(const Visit& visit) {
    for (int client = 0; client < Model::kClients; ++client) {
      for (int file = 0; file < ModelClient::kFiles; ++file) {
        const Place place{client, file};
        // What is visited may go meanwhile.
        const ModelFile versions = FileOf(place);
        for (int i = 0; i < versions.version_count; ++i)
          visit(place, versions.versions[static_cast<size_t>(i)]);
      }
    }
  }

  const std::string dir_;
  Model& model_;
  Mutex mutex_;  // Of the model.
  std::mt19937_64 random_;
  std::atomic<int> blob_steps_left_;
  int64_t newest_pack_ = 0;
  FakeClock clock_;
  FaultVfs vfs_;
  const std::unique_ptr<storage::Catalog> catalog_;
  const std::unique_ptr<storage::BlobStore> local_blobs_;
  CrashingBlobStore blobs_;
  const crypto::KeyRing master_key_{std::string(32, 'k')};
  const std::unique_ptr<content::StoreKeys> store_keys_;
  const std::unique_ptr<content::Dictionaries> dictionaries_;
  storage::ChunkCache chunk_cache_{kChunkCacheBytes};
  storage::BlobLedger ledger_;
  storage::Stock<int64_t> version_ids_;
  StageResources stages_;
  const handlers::UploadPolicy policy_;
  const handlers::UploadResources uploads_;
  const handlers::StoredPlaces places_;
  jobs::Sweep sweep_;
  jobs::Repack repack_;
  jobs::MoveContents move_;
  jobs::Scrub scrub_;
};

std::unique_ptr<storage::Catalog> OpenCatalog(const std::string& dir, const FaultVfs& vfs) {
  storage::SqliteCatalog::Options options;
  options.vfs = vfs.name();
  return ValueOf(storage::SqliteCatalog::Open(dir + "/catalog.db", {}, options),
                 "open the catalog");
}

OwnerId RandomOwner(std::mt19937_64& random) {
  std::string bytes(OwnerId::kSize, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return *OwnerId::FromBytes(bytes);
}

std::string RandomUuid(std::mt19937_64& random) { return ToUuid(RandomOwner(random)); }

World::World(const std::string& dir, Model& model, const Life& life, uint64_t seed)
    : dir_(dir),
      model_(model),
      random_(seed),
      blob_steps_left_(life.end == Life::End::kAtBlobStep ? life.nth : -1),
      // Time goes on, so that leases of those who are gone end.
      clock_(absl::FromUnixSeconds(1'700'000'000) + absl::Seconds(model.steps)),
      catalog_(OpenCatalog(dir, vfs_)),
      local_blobs_(ValueOf(storage::LocalBlobStore::Open(dir + "/store"), "open the store")),
      blobs_(*local_blobs_,
             [this](absl::string_view) {
               if (--blob_steps_left_ == 0) Crash();
             }),
      store_keys_(
          ValueOf(handlers::OpenStoreKeys(*catalog_, master_key_), "open the store's keys")),
      dictionaries_(handlers::MakeDictionaries(*catalog_, *store_keys_)),
      ledger_(*catalog_, clock_, RandomOwner(random_)),
      version_ids_(handlers::NewVersionIds(*catalog_)),
      policy_(life.uploads),
      uploads_{*catalog_,      blobs_,       ledger_, version_ids_, master_key_, *store_keys_,
               *dictionaries_, chunk_cache_, clock_,  stages_,      policy_},
      places_{*catalog_, blobs_, master_key_, *store_keys_, *dictionaries_},
      sweep_(*catalog_, blobs_, ledger_, clock_, Counter()),
      repack_(uploads_, {/*bytes_per_second=*/0, kPatience}, Counter()),
      move_(uploads_, places_, /*bytes_per_second=*/0),
      scrub_(uploads_, places_, {absl::ZeroDuration(), 0}, jobs::ScrubMetrics()) {
  RequireOk(ledger_.Renew(), "renew the leases");
  RequireOk(dictionaries_->Refresh(kLevel).status(), "look for dictionaries");
  if (life.end == Life::End::kAtWrite)
    vfs_.HookNth(FaultVfs::Op::kWrite, life.nth, [this] { Crash(); });
  if (life.end == Life::End::kAtSync)
    vfs_.HookNth(FaultVfs::Op::kSync, life.nth, [this] { Crash(); });
}

void World::Begin(const ModelCall& call) {
  MutexLock lock(mutex_);
  model_.calls[static_cast<size_t>(call.client)] = call;
}

void World::Resolve() {
  RequireOk(catalog_
                ->Run([&](storage::Transaction& transaction) {
                  return transaction.DropPendingBlobsOfOthers(ledger_.self(),
                                                              absl::InfiniteFuture(), kJobBudget);
                })
                .status(),
            "drop what nobody brings any more");
  for (int client = 0; client < Model::kClients; ++client) {
    const ModelCall call = model_.calls[static_cast<size_t>(client)];
    if (call.kind != ModelCall::Kind::kNone) Resolve(call);
    if (ClientOf(client).id.Get().empty()) Register(client);
  }
}

void World::Resolve(const ModelCall& call) {
  const Place place{call.client, call.file};
  ModelFile& file = FileOf(place);
  if (call.kind == ModelCall::Kind::kDeleteClient) return DeleteClient(call.client);
  if (call.kind == ModelCall::Kind::kPurge) {
    End(call.client, [] {});
    return Purge(call.client);
  }
  if (call.kind == ModelCall::Kind::kUpload) {
    const auto version = ValueOf(catalog_->Read([&](Snapshot& snapshot) {
      return snapshot.FindUpload(IdOf(call.client), *FromUuid<UploadId>(call.upload_id.Get()));
    }),
                                 "find an upload");
    return End(call.client, [&] {
      if (version && file.Find(version->version_id) == nullptr)
        file.Add({version->version_id, ModelState::kReceived, call.content});
    });
  }
  const absl::StatusOr<StoredVersion> stored = Find(place, call.version_id);
  if (call.kind == ModelCall::Kind::kUndelete) {
    return End(call.client, [&] {
      if (stored.ok()) file.Undelete(call.version_id);
    });
  }
  const bool is_in_trash = !stored.ok() && IsInTrash(place, call.version_id);
  if (!stored.ok()) {
    return End(call.client,
               [&] { is_in_trash ? file.Trash(call.version_id) : file.Remove(call.version_id); });
  }
  const storage::VersionState state = stored->version.state;
  End(call.client, [&] {
    file.Find(call.version_id)->state =
        state == storage::VersionState::kVerified    ? ModelState::kVerified
        : state == storage::VersionState::kAbandoned ? ModelState::kAbandoned
                                                     : ModelState::kReceived;
  });
}

void World::Register(int client) {
  v1::RegisterClientRequest request;
  request.set_name(absl::StrCat("client ", client));
  // One without a key is the same again.
  const auto response =
      ValueOf(handlers::Transact(*catalog_,
                                 [&] {
                                   return handlers::RegisterClient::Prepare(
                                       clock_, storage::DuplicateNames::kAllow, request);
                                 }),
              "register");
  MutexLock lock(mutex_);
  ClientOf(client).id.Set(response.client().client_id());
}

// Of the chunks that were damaged, those that the catalog offers to nobody.
std::set<std::string> World::DamagedUnknown() {
  std::vector<std::string> damaged;
  {
    MutexLock lock(mutex_);
    for (int i = 0; i < model_.damaged_count; ++i) {
      const auto& id = model_.damaged[static_cast<size_t>(i)];
      damaged.emplace_back(id.data(), id.size());
    }
  }
  std::set<std::string> unknown;
  for (const std::string& id : damaged) {
    const auto chunk = ValueOf(catalog_->Read([&](Snapshot& snapshot) {
      return snapshot.FindChunk(*ChunkId::FromBytes(id));
    }),
                               "find a chunk");
    if (!chunk) unknown.insert(id);
  }
  // What has come as a small file since then is whole.
  int64_t after = 0;
  while (!unknown.empty()) {
    const auto page = ValueOf(
        catalog_->Read([&](Snapshot& snapshot) { return snapshot.ListInlineChunks(after, kPage); }),
        "list small chunks");
    if (page.empty()) break;
    after = page.back().number;
    for (const StoredChunk& chunk : page) unknown.erase(std::string(chunk.ref.id.bytes()));
  }
  return unknown;
}

// As a client does that is told to come again: a chunk may turn out to be damaged after it was
// looked up.
absl::StatusOr<v1::UploadFileResponse> World::Send(const v1::UploadFileHeader& header,
                                                   const std::string& bytes) {
  absl::StatusOr<v1::UploadFileResponse> response;
  for (int i = 0; i < kTries; ++i) {
    RandomCutSource chunks(bytes, kMaxPiece);
    response = handlers::StoreUpload(uploads_, header, chunks);
    if (response.ok() || ReasonOf(response.status()) != Reason::kBackendDown) break;
  }
  return response;
}

// As a program did that knew no chunks: the content whole, with its footer.
void World::StoreWhole(const Place& place, const ModelContent& content, std::mt19937_64& random) {
  ModelFile& file = FileOf(place);
  if (file.version_count == ModelFile::kMaxVersions) Delete(place, file.versions[0].version_id);
  ModelCall call{ModelCall::Kind::kUpload, place.client, place.file, 0, {}, content};
  call.upload_id.Set(RandomUuid(random));
  const std::string bytes = content.Make();
  content::BlobFooter footer;
  footer.client_id = IdOf(place.client);
  footer.file_name = NameOf(place);
  footer.version_id = ValueOf(version_ids_.Take(), "take a version's id");
  footer.size_bytes = footer.encoded_size = footer.payload_size = std::ssize(bytes);
  crypto::Sha256 sha256;
  sha256.Update(bytes);
  footer.sha256 = sha256.Finish();
  Cksum cksum;
  cksum.Update(bytes);
  footer.checksum = cksum.Value();
  footer.receive_time = clock_.Now();
  storage::Version version = content::VersionOf(footer);
  version.upload_id = FromUuid<UploadId>(call.upload_id.Get());
  const std::string whole = bytes + content::EncodeFooter(footer);
  storage::NewContent stored = whole;
  Begin(call);
  if (std::ssize(bytes) > kInlineLimitBefore) {
    const BlobId id = ValueOf(ledger_.Take(), "take a blob's id");
    RandomCutSource source(whole, kMaxPiece);
    ValueOf(blobs_.Put(id, source, std::nullopt), "put a blob");
    stored = storage::NewBlob{id, std::ssize(whole)};
  }
  ValueOf(catalog_->Run([&](storage::Transaction& transaction) {
    return transaction.AddVersion(version, stored, {});
  }),
          "add a version");
  End(place.client, [&] { file.Add({footer.version_id, ModelState::kReceived, content}); });
}

void World::Upload(const Place& place, const ModelContent& content, std::mt19937_64& random) {
  ModelFile& file = FileOf(place);
  if (file.version_count == ModelFile::kMaxVersions) Delete(place, file.versions[0].version_id);
  ModelCall call{ModelCall::Kind::kUpload, place.client, place.file, 0, {}, content};
  call.upload_id.Set(RandomUuid(random));
  const std::string bytes = content.Make();
  v1::UploadFileHeader header = HeaderOf(ClientOf(place.client).id.Get(), NameOf(place),
                                         v1::UploadFileHeader::IDENTITY, bytes);
  header.set_upload_id(call.upload_id.Get());
  const std::set<std::string> to_be_healed = DamagedUnknown();
  Begin(call);
  const auto response = ValueOf(Send(header, bytes), "upload");
  const ModelVersion added{response.version().version_id(), ModelState::kReceived, content};
  End(place.client, [&] {
    file.Add(added);
    ++model_.uploads;
  });
  if (!to_be_healed.empty()) {
    for (const StoredChunk& chunk : ChunksOf(place, added.version_id)) {
      const std::string id(chunk.ref.id.bytes());
      MutexLock lock(mutex_);
      if (!to_be_healed.contains(id) || !model_.IsDamaged(id)) continue;
      model_.SetDamaged(id, false);
      ++model_.healed;
    }
  }
  const uint64_t verdict = random() % 100;
  if (verdict < 70) Judge(place, added, v1::ReportTransferRequest::VERIFIED);
  if (verdict >= 90) Judge(place, added, v1::ReportTransferRequest::RETRYING);
  if (verdict >= 85 && verdict < 90) Judge(place, added, v1::ReportTransferRequest::ABANDONED);
}

// Of a version that was not judged yet, the newest of its file.
void World::Judge(const Place& place, const ModelVersion& version, Outcome outcome) {
  Begin({ModelCall::Kind::kVerdict, place.client, place.file, version.version_id, {}, {}});
  v1::ReportTransferRequest request;
  request.set_client_id(ClientOf(place.client).id.Get());
  request.set_file_name(NameOf(place));
  request.set_outcome(outcome);
  RequireOk(handlers::Transact(*catalog_,
                               [&] {
                                 return handlers::ReportTransfer::Prepare(
                                     clock_, /*corrupt_checksums=*/false, request);
                               })
                .status(),
            "verdict");
  End(place.client, [&] {
    ModelFile& file = FileOf(place);
    if (outcome == v1::ReportTransferRequest::RETRYING) return file.Remove(version.version_id);
    file.Find(version.version_id)->state = outcome == v1::ReportTransferRequest::VERIFIED
                                               ? ModelState::kVerified
                                               : ModelState::kAbandoned;
  });
}

void World::Delete(const Place& place, int64_t version_id) {
  const handlers::TrashPolicy policy = {version_id % 2 == 0 ? absl::ZeroDuration()
                                                            : absl::Hours(1)};
  Begin({ModelCall::Kind::kDeleteVersion, place.client, place.file, version_id, {}, {}});
  v1::DeleteVersionRequest request;
  request.set_client_id(ClientOf(place.client).id.Get());
  request.set_file_name(NameOf(place));
  request.set_version_id(version_id);
  RequireOk(
      handlers::Transact(*catalog_,
                         [&] { return handlers::DeleteVersion::Prepare(clock_, policy, request); })
          .status(),
      "delete a version");
  End(place.client, [&] {
    policy.for_good() ? FileOf(place).Remove(version_id) : FileOf(place).Trash(version_id);
  });
}

void World::Undelete(const Place& place) {
  ModelFile& file = FileOf(place);
  if (file.trash_count == 0 || file.version_count == ModelFile::kMaxVersions) return;
  const ModelVersion version = file.trash[static_cast<size_t>(file.trash_count - 1)];
  Begin({ModelCall::Kind::kUndelete, place.client, place.file, version.version_id, {}, {}});
  v1::UndeleteVersionRequest request;
  request.set_client_id(ClientOf(place.client).id.Get());
  request.set_file_name(NameOf(place));
  request.set_version_id(version.version_id);
  RequireOk(handlers::UndeleteVersion(*catalog_, request).status(), "take a version back");
  End(place.client, [&] { file.Undelete(version.version_id); });
  CheckVersion(place, version, /*offset=*/0);
}

void World::RunPurge(const std::optional<ClientId>& client) {
  handlers::Purge purge(*catalog_, client);
  while (!purge.is_done())
    RequireOk(purge.Step(absl::InfiniteFuture(), absl::InfiniteFuture(), /*limit=*/2).status(),
              "purge");
}

void World::Purge(int client) {
  const ModelCall& call = model_.calls[static_cast<size_t>(client)];
  const bool is_alone = call.kind == ModelCall::Kind::kNone;
  if (is_alone) Begin({ModelCall::Kind::kPurge, client, 0, 0, {}, {}});
  RunPurge(IdOf(client));
  const auto forget = [&] {
    for (ModelFile& file : ClientOf(client).files) file.trash_count = 0;
  };
  if (is_alone) End(client, forget);
}

bool World::IsInTrash(const Place& place, int64_t version_id) {
  const auto versions = ValueOf(catalog_->Read([&](Snapshot& snapshot) {
    return snapshot.ListTrashedVersions({IdOf(place.client), NameOf(place)}, {}, kPage);
  }),
                                "list the trash");
  return std::any_of(versions.begin(), versions.end(), [&](const storage::Version& version) {
    return version.version_id == version_id;
  });
}

void World::DeleteClient(int client) {
  Begin({ModelCall::Kind::kDeleteClient, client, 0, 0, {}, {}});
  v1::DeleteClientRequest request;
  request.set_client_id(ClientOf(client).id.Get());
  const absl::Status deleted =
      handlers::DeleteClient(*catalog_, clock_, {absl::Hours(1)}, request).status();
  // A process before this one may have come to its end.
  Require(deleted.ok() || ReasonOf(deleted) == Reason::kClientNotFound, deleted.ToString());
  Purge(client);
  End(client, [&] { ClientOf(client) = {}; });
  Register(client);
}

absl::StatusOr<StoredVersion> World::Find(const Place& place, int64_t version_id) {
  return catalog_->Read([&](Snapshot& snapshot) {
    return snapshot.FindVersion(IdOf(place.client), NameOf(place), version_id,
                                /*with_content=*/true);
  });
}

std::vector<StoredChunk> World::ChunksOf(const Place& place, int64_t version_id) {
  const StoredVersion stored = ValueOf(Find(place, version_id), "find a version");
  const auto* const list = std::get_if<storage::ChunkList>(&stored.content);
  if (list == nullptr) return {};
  std::vector<StoredChunk> chunks;
  for (int64_t offset = 0; offset < stored.version.size_bytes;) {
    for (StoredChunk& chunk : ValueOf(catalog_->Read([&](Snapshot& snapshot) {
           return snapshot.ListChunks(*list, offset, kPage);
         }),
                                      "list chunks")) {
      Require(chunk.offset_in_content == offset, "a recipe has a hole");
      offset += chunk.ref.size_bytes;
      chunks.push_back(std::move(chunk));
    }
  }
  return chunks;
}

bool World::HasDamaged(const Place& place, int64_t version_id) {
  const std::vector<StoredChunk> chunks = ChunksOf(place, version_id);
  MutexLock lock(mutex_);
  return std::any_of(chunks.begin(), chunks.end(), [&](const StoredChunk& chunk) {
    return model_.IsDamaged(chunk.ref.id.bytes());
  });
}

bool World::CheckVersion(const Place& place, const ModelVersion& version, int64_t offset) {
  const std::string what =
      absl::StrCat("read version ", version.version_id, " from ", offset, " on");
  v1::DownloadFileRequest request =
      DownloadOf(ClientOf(place.client).id.Get(), NameOf(place), version.version_id);
  request.set_offset_bytes(offset);
  const auto download = handlers::DownloadFile(places_, stages_, request);
  StringSink read;
  const absl::Status status =
      download.ok() ? CopyAll(*download->bytes, read).status() : download.status();
  if (version.state == ModelState::kAbandoned) {
    Require(!status.ok(), absl::StrCat(what, ": it was given up, and is there"));
    return true;
  }
  const std::string expected = version.content.Make();
  const absl::string_view rest = absl::string_view(expected).substr(static_cast<size_t>(offset));
  Require(rest.substr(0, read.bytes().size()) == read.bytes(), absl::StrCat(what, ": other bytes"));
  if (status.ok()) {
    Require(read.bytes().size() == rest.size(), absl::StrCat(what, ": too few bytes"));
    return true;
  }
  Require(ReasonOf(status) == Reason::kBlobDamaged && HasDamaged(place, version.version_id),
          absl::StrCat(what, ": ", status.ToString()));
  return false;
}

// Flips a bit of a chunk in some pack.
void World::Damage() {
  if (model_.damaged_count == Model::kMaxDamaged) return;
  const auto packs = ValueOf(
      catalog_->Read([&](Snapshot& snapshot) { return snapshot.ListPacks(/*after=*/0, kPage); }),
      "list packs");
  if (packs.empty()) return;
  const storage::PackInfo& pack = packs[random_() % packs.size()];
  const auto chunks = ValueOf(catalog_->Read([&](Snapshot& snapshot) {
    return snapshot.ListPackChunks(pack.pack, /*after=*/-1, kPage);
  }),
                              "list a pack's chunks");
  if (chunks.empty()) return;
  const StoredChunk& chunk = chunks[random_() % chunks.size()];
  const std::string hex = ToHex(pack.blob_id);
  const std::string path = absl::StrCat(dir_, "/store/blobs/", hex.substr(0, 2), "/", hex);
  const auto at = static_cast<std::streamoff>(
      chunk.offset + static_cast<int64_t>(random_() % static_cast<uint64_t>(chunk.stored_size)));
  {
    MutexLock lock(mutex_);
    model_.SetDamaged(chunk.ref.id.bytes(), true);
  }
  // What tells of them may go when the chunk is stored anew.
  ForEachVersion([&](const Place& place, const ModelVersion& version) {
    for (const StoredChunk& each : ChunksOf(place, version.version_id)) {
      MutexLock lock(mutex_);
      if (each.number == chunk.number) FileOf(place).Find(version.version_id)->was_damaged = true;
    }
  });
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(at);
  const int byte = file.get();
  file.seekp(at);
  file.put(static_cast<char>(byte ^ (1 << random_() % 8)));
  Require(file.good(), absl::StrCat("change ", path));
}

void World::RunWhole(jobs::Job& job) {
  std::string cursor;
  for (bool is_done = false; !is_done;) {
    const auto progress =
        ValueOf(job.Step(cursor, kJobBudget, std::stop_token()), std::string(job.name()));
    cursor = progress.cursor;
    is_done = progress.is_done;
  }
}

void World::Scrub() {
  // What is to be released yet might be of a client that is gone, whose damage nobody can tell.
  RunWhole(sweep_);
  RequireOk(catalog_
                ->Run([](storage::Transaction& transaction) {
                  return handlers::StartScrub(transaction, {});
                })
                .status(),
            "start to scrub");
  RunWhole(scrub_);
  Flush();  // What is found is told without waiting.
  std::set<std::string> healed;
  {
    MutexLock lock(mutex_);
    for (int i = 0; i < model_.damaged_count; ++i) {
      const auto& id = model_.damaged[static_cast<size_t>(i)];
      healed.emplace(id.data(), id.size());
    }
  }
  for (const std::string& id : DamagedUnknown()) healed.erase(id);
  {
    MutexLock lock(mutex_);
    for (const std::string& id : healed) model_.SetDamaged(id, false);
    model_.healed += std::ssize(healed);
  }
  ForEachVersion([&](const Place& place, const ModelVersion& version) {
    if (version.state == ModelState::kAbandoned) return;
    const bool is_damaged = ValueOf(Find(place, version.version_id), "find").version.is_damaged;
    Require(is_damaged == HasDamaged(place, version.version_id),
            absl::StrCat("scrub: version ", version.version_id,
                         is_damaged ? " is not damaged" : " is damaged"));
  });
}

bool World::RunJob(std::mt19937_64& random) {
  if (random() % 8 == 0) {
    TrainDictionary(random);
    return false;
  }
  const uint64_t kind = random() % 4;
  jobs::Job& job = kind == 0 ? sweep_ : kind == 1 ? move_ : static_cast<jobs::Job&>(repack_);
  RunWhole(job);
  return &job == &sweep_;
}

void World::TrainDictionary(std::mt19937_64& random) {
  const std::optional<uint32_t> id = ValueOf(dictionaries_->Refresh(kLevel), "refresh");
  std::vector<std::string> samples;
  while (samples.size() < kSamples) {
    const ModelContent content = RandomContent(random);
    if (content.size_bytes() <= kInlineLimitBefore) samples.push_back(content.Make());
  }
  const std::optional<std::string> bytes =
      id ? content::TrainDictionary(samples, *id) : std::nullopt;
  if (!bytes) return;
  const auto form =
      random() % 2 == 0 ? storage::StorageForm::kPlain : storage::StorageForm::kSealed;
  RequireOk(catalog_
                ->Run([&](storage::Transaction& transaction) {
                  return transaction.AddStoreValue(
                      content::DictionaryName(*id),
                      content::SealDictionary({form, 0, *bytes}, *id, *store_keys_));
                })
                .status(),
            "keep a dictionary");
  RequireOk(dictionaries_->Refresh(kLevel).status(), "use it");
}

// What one client does, and nobody else to it meanwhile.
void World::StepOf(int client, std::mt19937_64& random) {
  const Place place{client, static_cast<int>(random() % ModelClient::kFiles)};
  const ModelFile file = FileOf(place);
  const uint64_t kind = random() % 100;
  if (kind < 50 || file.version_count == 0) return Upload(place, RandomContent(random), random);
  const ModelVersion& version = file.versions[random() % static_cast<uint64_t>(file.version_count)];
  if (kind < 70) return Delete(place, version.version_id);
  if (kind < 72) return DeleteClient(client);
  if (kind < 78) return Undelete(place);
  if (kind < 80) return Purge(client);
  if (kind < 84) return StoreWhole(place, RandomContent(random), random);
  const auto size = static_cast<uint64_t>(version.content.size_bytes());
  CheckVersion(place, version, random() % 3 == 0 ? 0 : static_cast<int64_t>(random() % (size + 1)));
  MutexLock lock(mutex_);
  ++model_.reads;
}

void World::ManyAtOnce() {
  std::vector<std::jthread> threads;
  // All begin with the same: so they do the same things to the same content at once.
  const uint64_t seed = random_();
  for (int client = 0; client < Model::kClients; ++client) {
    threads.emplace_back([this, client, seed] {
      std::mt19937_64 random(seed);
      for (int i = 0; i < 3; ++i) {
        StepOf(client, random);
        // What the others have found is referred to for them, as if they were slow.
        RequireOk(ledger_.SecureFound(), "refer to what was found");
      }
    });
  }
  std::mt19937_64 random(seed);
  RunJob(random);
}

void World::Step() {
  {
    MutexLock lock(mutex_);
    ++model_.steps;
  }
  const uint64_t kind = random_() % 100;
  if (kind < 2) return Damage();
  if (kind < 6) return CheckTold(/*is_swept=*/RunJob(random_));
  if (kind < 10) return ManyAtOnce();
  if (kind < 11) return Scrub();
  const int64_t pack = NewestPack();
  const int64_t version = NewestVersion();
  StepOf(static_cast<int>(random_() % Model::kClients), random_);
  if (NewestPack() > pack) RequireTold(version);
}

void World::Steps(int count) {
  for (int i = 0; i < count; ++i) Step();
}

void World::Flush() {
  RequireOk(
      catalog_->Run([](storage::Transaction& transaction) { return transaction.ProbeWrite(); }),
      "flush");
}

void World::CheckVersionsOf(const Place& place) {
  const ModelFile& file = FileOf(place);
  const auto listed = catalog_->Read([&](Snapshot& snapshot) {
    return snapshot.ListVersions(IdOf(place.client), NameOf(place), /*before=*/0, kPage);
  });
  const auto count =
      listed.ok() ? std::ssize(*listed) : 0;  // A file without versions is not there.
  Require(count == file.version_count,
          absl::StrCat("a file has ", count, " versions instead of ", file.version_count));
  for (int i = 0; i < file.version_count; ++i) {
    Require((*listed)[static_cast<size_t>(count - 1 - i)].version_id ==
                file.versions[static_cast<size_t>(i)].version_id,
            "a file has other versions");
  }
}

void World::CheckCounts() {
  storage::Counts expected;
  expected.clients = Model::kClients;
  for (int client = 0; client < Model::kClients; ++client) {
    for (const ModelFile& file : ClientOf(client).files) expected.files += file.version_count > 0;
  }
  ForEachVersion([&](const Place&, const ModelVersion& version) {
    ++expected.versions;
    expected.verified_versions += version.state == ModelState::kVerified;
    expected.abandoned_versions += version.state == ModelState::kAbandoned;
    if (version.state != ModelState::kAbandoned)
      expected.stored_bytes += version.content.size_bytes();
  });
  const auto counts =
      ValueOf(catalog_->Read([](Snapshot& snapshot) { return snapshot.Count(); }), "count");
  const auto check = [](absl::string_view what, int64_t is, int64_t should_be) {
    Require(is == should_be, absl::StrCat(what, ": ", is, " instead of ", should_be));
  };
  check("clients", counts.clients, expected.clients);
  check("files", counts.files, expected.files);
  check("versions", counts.versions, expected.versions);
  check("verified versions", counts.verified_versions, expected.verified_versions);
  check("abandoned versions", counts.abandoned_versions, expected.abandoned_versions);
  check("stored bytes", counts.stored_bytes, expected.stored_bytes);
}

void World::CheckUsage() {
  using storage::Usage;
  std::map<ClientId, Usage> by_client;
  Usage by_store;
  std::set<std::pair<ClientId, std::string>> files;
  std::set<std::pair<ClientId, std::string>> all_files;
  int64_t after = 0;
  while (true) {
    const auto page = ValueOf(
        catalog_->Read([&](Snapshot& snapshot) { return snapshot.ScanVersions(after, kPage); }),
        "scan versions");
    if (page.empty()) break;
    for (const auto& [version, content] : page) {
      after = version.version_id;
      const bool has_content = version.state != storage::VersionState::kAbandoned;
      const int64_t size = has_content ? version.size_bytes : 0;
      by_store.bytes += size;
      by_store.files += all_files.emplace(version.client_id, version.file_name).second;
      if (version.delete_time) continue;
      Usage& used = by_client[version.client_id];
      used.bytes += size;
      used.files += files.emplace(version.client_id, version.file_name).second;
    }
  }
  const auto require = [](absl::string_view who, const Usage& is, const Usage& should_be) {
    Require(is == should_be,
            absl::StrCat(who, " uses ", is.bytes, " bytes and ", is.files, " files instead of ",
                         should_be.bytes, " and ", should_be.files));
  };
  const auto read = [&](const auto& find) { return ValueOf(catalog_->Read(find), "usage"); };
  const auto counts = read([](Snapshot& snapshot) { return snapshot.Count(); });
  require("the store",
          {counts.stored_bytes + counts.trash_bytes, counts.files + counts.trash_files}, by_store);
  const auto clients =
      read([](Snapshot& snapshot) { return snapshot.ListClients(ClientId(), kPage); });
  for (const storage::Client& client : clients)
    require("a client", {client.stored_bytes, client.file_count}, by_client[client.id]);
}

// The rows count exactly the references that there are, and packs exactly what is alive in them.
void World::CheckReferences() {
  PurgeAll();
  while (ValueOf(catalog_->Run([](storage::Transaction& transaction) {
           return transaction.ReleaseRecipes(kJobBudget);
         }),
                 "release recipes") > 0) {
  }
  std::map<std::string, int64_t> references;
  std::map<std::string, int64_t> sizes;
  ForEachVersion([&](const Place& place, const ModelVersion& version) {
    for (const StoredChunk& chunk : ChunksOf(place, version.version_id)) {
      ++references[std::string(chunk.ref.id.bytes())];
      sizes[std::string(chunk.ref.id.bytes())] = chunk.ref.size_bytes;
    }
  });
  int64_t unique_bytes = 0;
  for (const auto& [id, size] : sizes) unique_bytes += size;
  const auto counts =
      ValueOf(catalog_->Read([](Snapshot& snapshot) { return snapshot.Count(); }), "count");
  Require(counts.chunks == std::ssize(references),
          absl::StrCat(counts.chunks, " chunks instead of ", references.size()));
  Require(counts.unique_bytes == unique_bytes,
          absl::StrCat(counts.unique_bytes, " unique bytes instead of ", unique_bytes));
  int64_t after = 0;
  while (true) {
    const auto packs = ValueOf(
        catalog_->Read([&](Snapshot& snapshot) { return snapshot.ListPacks(after, kPage); }),
        "list packs");
    if (packs.empty()) return;
    for (const storage::PackInfo& pack : packs) {
      after = pack.pack;
      int64_t live_bytes = 0;
      int index = -1;
      while (true) {
        const auto chunks = ValueOf(catalog_->Read([&](Snapshot& snapshot) {
          return snapshot.ListPackChunks(pack.pack, index, kPage);
        }),
                                    "list a pack's chunks");
        if (chunks.empty()) break;
        for (const StoredChunk& chunk : chunks) {
          index = chunk.index;
          const auto found = references.find(std::string(chunk.ref.id.bytes()));
          const int64_t expected = found == references.end() ? 0 : found->second;
          Require(chunk.refs == expected,
                  absl::StrCat("a chunk has ", chunk.refs, " references instead of ", expected));
          if (expected > 0) live_bytes += chunk.stored_size;
        }
      }
      Require(pack.live_bytes == live_bytes,
              absl::StrCat("a pack has ", pack.live_bytes, " live bytes instead of ", live_bytes));
    }
  }
}

int64_t World::NewestPack() {
  while (true) {
    const auto packs = ValueOf(
        catalog_->Read([&](Snapshot& snapshot) { return snapshot.ListPacks(newest_pack_, kPage); }),
        "list packs");
    if (packs.empty()) return newest_pack_;
    newest_pack_ = packs.back().pack;
  }
}

int64_t World::NewestVersion() {
  int64_t newest = 0;
  ForEachVersion([&](const Place&, const ModelVersion& version) {
    newest = std::max(newest, version.version_id);
  });
  return newest;
}

bool World::IsTold(const Place& place, const ModelVersion& version, const Told& told) {
  return testing::IsTold(told, ValueOf(Find(place, version.version_id), "find a version").version,
                         ChunksOf(place, version.version_id));
}

void World::RequireTold(int64_t after) {
  const auto told = ValueOf(ReadToldVersions(*local_blobs_, master_key_), "read the packs");
  ForEachVersion([&](const Place& place, const ModelVersion& version) {
    if (version.version_id <= after || version.state == ModelState::kAbandoned) return;
    Require(IsTold(place, version, told),
            absl::StrCat("no pack tells of the new version ", version.version_id));
    MutexLock lock(mutex_);
    FileOf(place).Find(version.version_id)->is_told = true;
  });
}

void World::CheckTold(bool is_swept) {
  const auto told = ValueOf(ReadToldVersions(*local_blobs_, master_key_), "read the packs");
  ForEachVersion([&](const Place& place, const ModelVersion& version) {
    if (version.state == ModelState::kAbandoned || version.was_damaged) return;
    const bool is_told = IsTold(place, version, told);
    Require(is_told || !version.is_told,
            absl::StrCat("no pack tells any more of version ", version.version_id));
    MutexLock lock(mutex_);
    FileOf(place).Find(version.version_id)->is_told = version.is_told || (is_told && is_swept);
  });
}

void World::CheckAll() {
  for (int client = 0; client < Model::kClients; ++client) {
    for (int file = 0; file < ModelClient::kFiles; ++file) CheckVersionsOf({client, file});
  }
  CheckCounts();
  CheckUsage();
  CheckReferences();
  CheckTold(/*is_swept=*/false);
  ForEachVersion([&](const Place& place, const ModelVersion& version) {
    CheckVersion(place, version, /*offset=*/0);
  });
}

void World::Verify() {
  PurgeAll();
  RequireOk(handlers::VerifyStore(places_, stages_.pieces, v1::VerifyStoreRequest(),
                                  [](const v1::VerifyStoreResponse& response) {
                                    Require(!response.has_finding(),
                                            absl::StrCat("verify: ",
                                                         response.finding().ShortDebugString()));
                                    return absl::OkStatus();
                                  }),
            "verify");
}

void World::CheckNothingIsLeft() {
  PurgeAll();
  for (int round = 0; round < kRoundsUntilEmpty; ++round) {
    RunWhole(sweep_);
    RunWhole(repack_);
    RunWhole(sweep_);
  }
  const auto counts =
      ValueOf(catalog_->Read([](Snapshot& snapshot) { return snapshot.Count(); }), "count");
  Require(
      counts.chunks == 0 && counts.packs == 0 && counts.pack_bytes == 0 && counts.blob_bytes == 0 &&
          counts.unique_bytes == 0 && counts.compressed_bytes == 0 && counts.dropped_recipes == 0 &&
          counts.dropped_blobs == 0,
      absl::StrCat("of nothing there are ", counts.chunks, " chunks, ", counts.packs, " packs, ",
                   counts.dropped_recipes, " recipes, ", counts.dropped_blobs, " blobs"));
  RequireOk(local_blobs_->List([](const storage::BlobInfo& blob) {
    return absl::InternalError(absl::StrCat("the blob ", ToHex(blob.id), " is left"));
  }),
            "the store is empty");
}

// The same bytes again put right what was damaged, or at least nothing that cannot be read stays.
void World::Heal(const Place& place, std::mt19937_64& random) {
  const ModelFile file = FileOf(place);
  for (int i = 0; i < file.version_count; ++i) {
    const ModelVersion& version = file.versions[static_cast<size_t>(i)];
    if (CheckVersion(place, version, /*offset=*/0)) continue;
    Flush();  // The damage is noted.
    const Place elsewhere{place.client, (place.file + 1) % ModelClient::kFiles};
    Upload(elsewhere, version.content, random);
    if (FileOf(place).Find(version.version_id) != nullptr && !CheckVersion(place, version, 0))
      Delete(place, version.version_id);  // Somebody else's key made the ids of its chunks.
  }
}

void World::CheckEnd() {
  for (int client = 0; client < Model::kClients; ++client) {
    for (int file = 0; file < ModelClient::kFiles; ++file) Heal({client, file}, random_);
  }
  RunWhole(sweep_);
  Verify();
  CheckAll();
  ForEachVersion(
      [&](const Place& place, const ModelVersion& version) { Delete(place, version.version_id); });
  CheckNothingIsLeft();
}

// In a process of its own; returns its exit code.
int Live(const std::string& dir, Model& model, uint64_t seed, int steps) {
  const pid_t pid = ::fork();
  PCHECK(pid >= 0);
  if (pid > 0) {
    int status = 0;
    PCHECK(::waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  ::alarm(kLifeDeadlineSeconds);
  FLAGS_minloglevel = google::FATAL;  // Damage is reported, as it should be.
  std::mt19937_64 random(seed);
  const bool is_last = steps == 0;
  const Life life = is_last ? Life() : Life::Random(random);
  auto world = std::make_unique<World>(dir, model, life, random());
  world->Resolve();
  world->CheckAll();
  world->Steps(steps);
  if (is_last) world->CheckEnd();
  if (life.end == Life::End::kDropped) ::_exit(kCrashed);
  world = nullptr;
  ::_exit(0);
}

uint64_t NumberOf(const char* variable, uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  uint64_t number = otherwise;
  if (text != nullptr) CHECK(absl::SimpleAtoi(text, &number)) << variable;
  return number;
}

TEST(ContentModelTest, WhatWasAcknowledgedIsThereAndNothingElse) {
  const uint64_t seed = NumberOf("MODEL_SEED", std::random_device()());
  const auto steps = static_cast<int64_t>(NumberOf("MODEL_STEPS", 10'000));
  std::cout << "MODEL_SEED=" << seed << " MODEL_STEPS=" << steps << std::endl;
  void* const shared =
      ::mmap(nullptr, sizeof(Model), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  PCHECK(shared != MAP_FAILED);
  Model& model = *new (shared) Model();
  const std::string dir = storage::MakeMemoryFolder();
  std::mt19937_64 random(seed);
  int lives = 0;
  int crashes = 0;
  while (model.steps < steps) {
    const int code = Live(dir, model, random(), kStepsOfLife);
    ++lives;
    crashes += code == kCrashed;
    ASSERT_TRUE(code == 0 || code == kCrashed)
        << "exit code " << code << ", MODEL_SEED=" << seed << ", the data is in " << dir;
  }
  ASSERT_EQ(Live(dir, model, random(), 0), 0)
      << "MODEL_SEED=" << seed << ", the data is in " << dir;
  std::cout << lives << " processes, of which " << crashes << " were killed, " << model.steps
            << " steps, " << model.uploads << " uploads, " << model.reads << " reads, "
            << model.healed << " chunks healed" << std::endl;
  std::filesystem::remove_all(dir);
  ::munmap(shared, sizeof(Model));
}

}  // namespace
}  // namespace backup::testing
