#include "services/backup/jobs/testing/chunk_world.h"

#include <cstring>
#include <iterator>
#include <random>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "content/chunk_digest.h"
#include "content/compression.h"
#include "content/stored_form.h"
#include "crypto/random.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/version_ids.h"
#include "services/backup/jobs/sweep.h"
#include "services/backup/testing/told_versions.h"
#include "storage/testing/hooked_staged_blob.h"
#include "storage/testing/ids.h"

namespace backup::jobs {
namespace {

using storage::IdOf;
using storage::Snapshot;
using storage::Transaction;

template <typename T>
T ValueOf(absl::StatusOr<T> result) {
  CHECK(result.ok()) << result.status();
  return *std::move(result);
}
void MustBeOk(const absl::Status& status) { CHECK(status.ok()) << status; }

OwnerId OwnerOf(int process) {
  return IdOf<OwnerId>(static_cast<uint8_t>(process >> 8), static_cast<uint8_t>(process));
}

absl::Status Dead() { return absl::InternalError("the process has died"); }

}  // namespace

void MortalCatalog::Submit(Work work, Done done) {
  const Death::Fate fate = death_.Next();
  if (fate.is_last && death_.comes) return SubmitLast(std::move(work), fate.happens);
  if (!fate.happens) return done(Dead());
  catalog_.Submit(
      std::move(work),
      fate.is_told ? std::move(done) : [done](const absl::Status&) { done(Dead()); });
}

void MortalCatalog::SubmitLast(Work work, bool happens) {
  catalog_.Submit(
      [this, happens, work = std::move(work)](Transaction& transaction) -> absl::Status {
        RETURN_IF_ERROR(work(transaction));
        if (!happens) death_.Come("a transaction is to be committed");
        return absl::OkStatus();
      },
      [this](const absl::Status&) { death_.Come("a transaction is committed"); });
}

absl::StatusOr<std::unique_ptr<storage::StagedBlob>> MortalBlobStore::Stage(
    const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) {
  RETURN_IF_ERROR(put_error);
  ASSIGN_OR_RETURN(auto staged, store_.Stage(id, source, expected_size));
  const auto commit = [this](storage::StagedBlob& blob) {
    const Death::Fate fate = death_.Next();
    if (fate.is_last && !fate.happens) death_.Come("a blob is to be stored");
    if (!fate.happens) return Dead();
    RETURN_IF_ERROR(blob.Commit());
    after_commit();
    if (fate.is_told) return absl::OkStatus();
    death_.Come("a blob is stored");
    return Dead();
  };
  return std::make_unique<storage::HookedStagedBlob>(std::move(staged), commit);
}

absl::StatusOr<bool> MortalBlobStore::Delete(const BlobId& id) {
  const Death::Fate fate = death_.Next();
  if (fate.is_last && !fate.happens) death_.Come("a blob is to be deleted");
  if (!fate.happens) return Dead();
  ASSIGN_OR_RETURN(const bool was_there, store_.Delete(id));
  if (fate.is_told) return was_there;
  death_.Come("a blob is deleted");
  return Dead();
}

ChunkWorld::ChunkWorld(Medium new_medium)
    : medium(std::move(new_medium)), processes_(medium.processes) {
  keys = ValueOf(content::StoreKeys::Open(medium.sealed_secret.empty()
                                              ? content::StoreKeys::NewSealedSecret(master_key)
                                              : medium.sealed_secret,
                                          master_key));
  Restart();
  client = ValueOf(catalog->Run([&](Transaction& transaction) {
             return transaction.RegisterClient("client", IdOf<ClientId>(1),
                                               storage::DuplicateNames::kReject, clock.Now());
           })).id;
}

// Waits for what nobody waited for.
ChunkWorld::~ChunkWorld() {
  MustBeOk(medium.catalog->Run([](Transaction&) { return absl::OkStatus(); }));
}

void ChunkWorld::Restart() {
  death.After(Death::kNever, Death::When::kBefore);
  move_ = nullptr;
  resources_ = nullptr;
  dictionaries_ = nullptr;
  version_ids_ = nullptr;
  ledger = nullptr;
  catalog = std::make_unique<MortalCatalog>(*medium.catalog, death);
  blobs = std::make_unique<MortalBlobStore>(*medium.blobs, death);
  ledger = std::make_unique<storage::BlobLedger>(*catalog, clock, OwnerOf(++processes_));
  version_ids_ = std::make_unique<storage::Stock<int64_t>>(handlers::NewVersionIds(*catalog));
  dictionaries_ = handlers::MakeDictionaries(*catalog, *keys);
  resources_ = std::make_unique<handlers::UploadResources>(
      handlers::UploadResources{*catalog, *blobs, *ledger, *version_ids_, master_key, *keys,
                                *dictionaries_, chunk_cache, clock, stages, policy});
  move_ = std::make_unique<MoveContents>(*resources_, places(), /*bytes_per_second=*/0);
  MustBeOk(Sweep());
}

storage::Version ChunkWorld::NewVersion(const std::string& file_name, const std::string& plain,
                                        storage::StorageForm form) {
  storage::Version version;
  version.client_id = client;
  version.file_name = file_name;
  version.version_id = next_version++;
  version.size_bytes = static_cast<int64_t>(plain.size());
  version.encoded_size = version.size_bytes;
  crypto::Sha256 sha256;
  sha256.Update(plain);
  version.sha256 = sha256.Finish();
  version.receive_time = clock.Now();
  version.form = form;
  return version;
}

storage::NewPack ChunkWorld::StorePack(content::PackBuilder& builder,
                                       content::PackFooter::Part part) {
  std::vector<content::PackFooter::Part> parts;
  parts.push_back(std::move(part));
  builder.Finish(std::move(parts));
  std::string bytes;
  while (const auto piece = builder.Next()) absl::StrAppend(&bytes, piece->bytes);
  storage::NewPack pack = builder.TakePack();
  pack.size_bytes = static_cast<int64_t>(bytes.size());
  StringSource source(std::move(bytes));
  MustBeOk(blobs->Put(pack.blob_id, source, std::nullopt).status());
  return pack;
}

ChunkWorld::Upload ChunkWorld::Begin(const std::string& file_name,
                                     const std::vector<std::string>& chunks, const HowStored& how) {
  Upload upload;
  upload.plain = absl::StrJoin(chunks, "");
  upload.version = NewVersion(file_name, upload.plain, how.form);
  std::optional<content::PackBuilder> builder;
  const std::string content_id = crypto::RandomBytes(16);
  content::PackFooter::Part part;
  part.content_id = content_id;
  std::set<ChunkId> own;
  const auto store_pack = [&] {
    const int64_t next_step = part.first_step + std::ssize(part.steps);
    storage::NewPack pack = StorePack(*builder, std::move(part));
    for (storage::PackedChunk& chunk : pack.chunks) chunk.waits = how.waits;
    part = {content_id, next_step, {}, std::nullopt};
    upload.content.packs.push_back(std::move(pack));
    builder.reset();
  };
  const content::ChunkIdKey id_key =
      keys->IdKey(how.form, how.for_client ? std::optional<ClientId>(client) : std::nullopt);
  for (const std::string& bytes : chunks) {
    const storage::ChunkRef ref{content::ChunkIdOf(id_key, bytes),
                                static_cast<int64_t>(bytes.size())};
    upload.content.recipe.push_back(ref);
    const bool is_known = own.contains(ref.id) || ValueOf(catalog->Read([&](Snapshot& snapshot) {
                                                    return snapshot.FindChunk(ref.id);
                                                  })).has_value();
    if (!is_known && builder && builder->chunks().size() == how.chunks_per_pack) store_pack();
    part.steps.push_back(ref);
    if (is_known) continue;
    if (!builder)
      builder.emplace(ValueOf(ledger->Take()), how.form, keys->sealed_secret(), *packs_ring);
    const absl::string_view parts[] = {bytes};
    std::optional<std::string> frame;
    if (how.compressed) frame = content::Compress(parts, 3);
    builder->AddOwned(ref, frame ? storage::ChunkCoding::kZstd : storage::ChunkCoding::kRaw,
                      frame ? *frame : bytes);
    own.insert(ref.id);
  }
  part.version = upload.version;
  if (builder) store_pack();
  return upload;
}

absl::Status ChunkWorld::Finish(const Upload& upload) {
  storage::NewChunks content = upload.content;
  while (content.recipe.size() > Transaction::kMaxRecipePart) {
    storage::NewChunks part = content;
    part.recipe.resize(Transaction::kMaxRecipePart);
    content.recipe.erase(content.recipe.begin(), content.recipe.begin() + std::ssize(part.recipe));
    content.packs.clear();
    ASSIGN_OR_RETURN(content.recipe_id, catalog->Run([&](Transaction& transaction) {
      return transaction.AppendRecipe(part, ledger->NewLease());
    }));
  }
  RETURN_IF_ERROR(catalog
                      ->Run([&](Transaction& transaction) {
                        return transaction.AddVersion(upload.version, content, {});
                      })
                      .status());
  expected[upload.version.file_name] = upload.plain;
  if (upload.content.packs.empty()) {
    told.erase(upload.version.file_name);
  } else {
    told.insert(upload.version.file_name);
  }
  return absl::OkStatus();
}

void ChunkWorld::Store(const std::string& file_name, const std::vector<std::string>& chunks,
                       const HowStored& how) {
  MustBeOk(Finish(Begin(file_name, chunks, how)));
}

void ChunkWorld::StoreWhole(const std::string& file_name, const std::string& plain,
                            storage::StorageForm form) {
  content::Arrival arrival;
  arrival.client_id = client;
  arrival.file_name = file_name;
  arrival.encoding.size_bytes = static_cast<int64_t>(plain.size());
  arrival.checksum_kind = storage::ChecksumKind::kCrc32OfPlaintext;
  arrival.form = form;
  StringSource source(plain);
  content::StoredForm whole(
      arrival, master_key, clock, stages,
      [&]() -> absl::StatusOr<int64_t> { return next_version++; }, source);
  std::string bytes = ValueOf(ReadAll(whole, size_t{1} << 30));
  storage::NewContent content = bytes;
  if (plain.size() > size_t{64} << 10) {
    const BlobId id = ValueOf(ledger->Take());
    StringSource blob(bytes);
    content = storage::NewBlob{id, ValueOf(blobs->Put(id, blob, std::nullopt))};
  }
  MustBeOk(catalog
               ->Run([&](Transaction& transaction) {
                 return transaction.AddVersion(content::VersionOf(whole.footer()), content, {});
               })
               .status());
  expected[file_name] = plain;
}

void ChunkWorld::Delete(const std::string& file_name) {
  DeleteVersions(file_name);
  MustBeOk(Sweep());
}

void ChunkWorld::DeleteVersions(const std::string& file_name) {
  MustBeOk(catalog->Run([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<storage::Version> versions,
                     transaction.ListVersions(client, file_name, 0, 100));
    for (const storage::Version& version : versions)
      RETURN_IF_ERROR(transaction.DeleteVersion(client, file_name, version.version_id,
                                                {clock.Now(), /*for_good=*/true}));
    return absl::OkStatus();
  }));
  expected.erase(file_name);
}

void ChunkWorld::DeleteClient() {
  MustBeOk(catalog->Run([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.DeleteClient(client, clock.Now()));
    return transaction.PurgeClient(client, clock.Now(), Transaction::kMaxDeletedVersions).status();
  }));
}

std::vector<storage::StoredChunk> ChunkWorld::ChunksOf(const std::string& file_name) {
  const storage::ChunkList content = std::get<storage::ChunkList>(Newest(file_name).content);
  return ValueOf(
      catalog->Read([&](Snapshot& snapshot) { return snapshot.ListChunks(content, 0, 100'000); }));
}

absl::StatusOr<std::string> ChunkWorld::Read(const std::string& file_name) {
  ASSIGN_OR_RETURN(const auto content, handlers::OpenContent(places(), Newest(file_name)));
  ASSIGN_OR_RETURN(const auto whole, content->ReadWhole(stages.pieces));
  return ReadAll(*whole, size_t{1} << 30);
}

void ChunkWorld::ExpectAllIsThere() {
  for (const auto& [file_name, plain] : expected) {
    const absl::StatusOr<std::string> read = Read(file_name);
    ASSERT_OK(read) << file_name;
    EXPECT_TRUE(*read == plain) << file_name;
  }
  ExpectAllIsTold();
}

void ChunkWorld::ExpectAllIsTold() {
  const auto versions = testing::ReadToldVersions(*medium.blobs, master_key);
  ASSERT_OK(versions);
  for (const std::string& file_name : told) {
    if (!expected.contains(file_name)) continue;
    EXPECT_TRUE(testing::IsTold(*versions, VersionOf(file_name), ChunksOf(file_name))) << file_name;
  }
}

void ChunkWorld::ExpectNothingElseIsThere() {
  const std::vector<storage::PackInfo> packs = Packs();
  EXPECT_EQ(BlobCount(), std::ssize(packs));
  for (const storage::PackInfo& pack : packs) {
    EXPECT_GT(pack.live_bytes, 0);
    const int64_t size_bytes = pack.size_bytes - pack.footer_bytes;
    EXPECT_LT(size_bytes - pack.live_bytes, size_bytes / 3 + (64 << 10));
  }
}

absl::StatusOr<int64_t> ChunkWorld::Run(Job& job) {
  int64_t count = 0;
  Job::Progress progress;
  for (int steps = 0; !progress.is_done; ++steps) {
    CHECK_LT(steps, 1000) << "it never ends";
    ASSIGN_OR_RETURN(progress, job.Step(progress.cursor, /*budget=*/256, std::stop_token()));
    count += progress.count;
  }
  return count;
}

absl::Status ChunkWorld::RunUntilIdle(Job& job) {
  Job::Progress progress;
  for (int steps = 0; !progress.is_idle; ++steps) {
    CHECK_LT(steps, 1000) << "it never ends";
    ASSIGN_OR_RETURN(progress, job.Step(progress.cursor, /*budget=*/256, std::stop_token()));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ChunkWorld::RunRepack() {
  Repack repack(*resources_, {/*bytes_per_second=*/0, absl::ZeroDuration()}, Counter());
  return Run(repack);
}

absl::StatusOr<int64_t> ChunkWorld::RunMove() { return Run(*move_); }

absl::Status ChunkWorld::Sweep() {
  jobs::Sweep sweep(*catalog, *blobs, *ledger, clock, Counter());
  return Run(sweep).status();
}

std::vector<storage::PackInfo> ChunkWorld::Packs() {
  return ValueOf(catalog->Read([](Snapshot& snapshot) { return snapshot.ListPacks(0, 100'000); }));
}

storage::Counts ChunkWorld::Count() {
  return ValueOf(catalog->Read([](Snapshot& snapshot) { return snapshot.Count(); }));
}

void ChunkWorld::Damage(const BlobId& id, int64_t offset) {
  std::string bytes;
  {
    const auto blob = ValueOf(medium.blobs->Open(id));
    bytes.resize(static_cast<size_t>(blob->size_bytes()));
    MustBeOk(blob->ReadAt(0, bytes));
  }
  bytes[static_cast<size_t>(offset)] ^= 1;
  CHECK(ValueOf(medium.blobs->Delete(id)));
  StringSource source(std::move(bytes));
  MustBeOk(medium.blobs->Put(id, source, std::nullopt).status());
}

void ChunkWorld::PublishOfAnother(int64_t epoch) {
  MustBeOk(catalog->Run([&](Transaction& transaction) {
    return transaction.PublishEpoch({IdOf<OwnerId>(255, 255), clock.Now() + absl::Hours(1)}, epoch);
  }));
}

int ChunkWorld::BlobCount() {
  int count = 0;
  MustBeOk(medium.blobs->List([&](const storage::BlobInfo&) {
    ++count;
    return absl::OkStatus();
  }));
  return count;
}

storage::StoredVersion ChunkWorld::Newest(const std::string& file_name) {
  return ValueOf(catalog->Read([&](Snapshot& snapshot) -> absl::StatusOr<storage::StoredVersion> {
    ASSIGN_OR_RETURN(const std::vector<storage::Version> versions,
                     snapshot.ListVersions(client, file_name, 0, 1));
    if (versions.empty()) return absl::NotFoundError("there is no version");
    return snapshot.FindVersion(client, file_name, versions.front().version_id,
                                /*with_content=*/true);
  }));
}

storage::Version ChunkWorld::VersionOf(const std::string& file_name) {
  return Newest(file_name).version;
}

BlobId ChunkWorld::BlobOf(const std::string& file_name) {
  return std::get<BlobId>(Newest(file_name).content);
}

std::string RandomBytes(int seed, size_t size) {
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  std::string bytes(size + sizeof(uint64_t), '\0');
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    const uint64_t number = random();
    std::memcpy(bytes.data() + i, &number, sizeof(number));
  }
  bytes.resize(size);
  return bytes;
}

std::string TextBytes(int seed, size_t size) {
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  std::string text;
  while (text.size() < size) absl::StrAppend(&text, "line ", random() % 1000, "\n");
  text.resize(size);
  return text;
}

}  // namespace backup::jobs
