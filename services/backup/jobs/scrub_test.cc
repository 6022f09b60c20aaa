#include "services/backup/jobs/scrub.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/compression.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/scrub.h"
#include "services/backup/jobs/runner.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "services/backup/jobs/testing/media.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/log_capture.h"
#include "services/backup/testing/memory_service.h"
#include "storage/sqlite/database.h"
#include "storage/testing/memory_folder.h"

namespace backup::jobs {
namespace {

using handlers::ScrubState;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::LogCapture;
using testing::MemoryService;
using ::testing::UnorderedElementsAre;

constexpr absl::Duration kPeriod = absl::Hours(720);
constexpr size_t kLarge = 2'500'000;  // In more than one chunk.

// A version, by its file.
using Names = std::set<std::string>;

class ScrubTest : public ::testing::TestWithParam<On> {
 protected:
  ScrubTest() {
    service_->uploads.inline_blob_limit = 1000;
    service_->uploads.compression.when = content::CompressionPolicy::When::kNever;
    EXPECT_OK(service_->ledger.Renew());
    client_ = service_->MakeClient("laptop");
  }

  std::unique_ptr<Scrub> NewScrub(const Scrub::Options& options = {kPeriod, 0},
                                  Pace::Wait wait = WaitFor) {
    return std::make_unique<Scrub>(service_->upload_resources, service_->stored_places, options,
                                   ScrubMetrics(), std::move(wait));
  }
  // Until it has nothing to do any more; returns the steps.
  static int RunAll(Scrub& scrub) {
    for (int steps = 0; steps < 1000; ++steps) {
      const auto progress = scrub.Step("", 256, std::stop_token());
      EXPECT_OK(progress);
      if (!progress.ok() || progress->is_idle) return steps;
    }
    ADD_FAILURE() << "it never ends";
    return 0;
  }
  // One cycle, by a process of its own; returns what it found.
  handlers::ScrubTally Cycle() {
    Start();
    RunAll(*NewScrub());
    EXPECT_FALSE(State().start_time);
    return State().last_tally;
  }
  void Start() {
    EXPECT_OK(service_->catalog.Run([](storage::Transaction& transaction) {
      return handlers::StartScrub(transaction, {kPeriod, 0});
    }));
  }
  void Pause() {
    EXPECT_OK(service_->catalog.Run([](storage::Transaction& transaction) {
      return handlers::PauseScrub(transaction, {kPeriod, 0});
    }));
  }
  ScrubState State() {
    return service_->catalog
        .Read([](storage::Snapshot& snapshot) { return handlers::FindScrub(snapshot); })
        .value();
  }

  std::vector<storage::StoredVersion> All() {
    return service_->catalog
        .Read([](storage::Snapshot& snapshot) { return snapshot.ScanVersions(0, 10000); })
        .value();
  }
  Names Damaged() {
    Names names;
    for (const storage::StoredVersion& stored : All()) {
      if (stored.version.is_damaged) names.insert(stored.version.file_name);
    }
    return names;
  }
  storage::StoredVersion Find(const std::string& name) {
    for (storage::StoredVersion& stored : All()) {
      if (stored.version.file_name == name) return std::move(stored);
    }
    ADD_FAILURE() << "there is no " << name;
    return {};
  }
  std::vector<storage::StoredChunk> ChunksOf(const std::string& name) {
    return service_->ChunksOf(Find(name));
  }
  BlobId BlobOf(const std::string& name) { return std::get<BlobId>(Find(name).content); }
  absl::StatusOr<std::string> Download(const std::string& name) {
    const storage::Version version = Find(name).version;
    return service_->Download(
        testing::DownloadOf(ToUuid(version.client_id), name, version.version_id));
  }
  void Flip(const BlobId& blob, int64_t at) {
    std::string bytes = service_->BlobBytes(blob);
    char& hit = bytes[static_cast<size_t>(at >= 0 ? at : at + std::ssize(bytes))];
    hit = static_cast<char>(hit ^ 1);
    service_->ReplaceBlob(blob, bytes);
  }
  void Lose(const BlobId& blob) { ASSERT_OK(service_->memory_blobs.Delete(blob)); }
  void Swap(const BlobId& a, const BlobId& b) {
    const std::string bytes = service_->BlobBytes(a);
    service_->ReplaceBlob(a, service_->BlobBytes(b));
    service_->ReplaceBlob(b, bytes);
  }
  std::string Bytes(size_t size, uint32_t seed = 1) {
    return testing::PseudoRandomBytes(size, seed);
  }
  void Store(const std::string& name, const std::string& plain) {
    service_->Store(client_.id, name, plain);
  }
  // As the client's own ciphertext, in a blob of its own if it is larger than a kilobyte.
  void StoreCiphertext(const std::string& name, const std::string& plain,
                       const KnownClient& client) {
    const storage::StorageForm before =
        std::exchange(service_->uploads.form, storage::StorageForm::kClientCiphertext);
    const std::string sent = testing::EncryptAsClient(client.session_key, plain);
    v1::UploadFileHeader header =
        testing::HeaderOf(client.id, name, v1::UploadFileHeader::AES_CBC_ZERO_IV, sent);
    ASSERT_OK(service_->Upload(header, sent));
    ASSERT_OK(service_->Report(client.id, name, v1::ReportTransferRequest::VERIFIED));
    service_->uploads.form = before;
  }
  // What is done to the database by nobody's program.
  void Execute(const std::string& sql) {
    const auto database =
        storage::Database::Open(path_, storage::Database::Mode::kReadWrite).value();
    ASSERT_OK(database->Execute(sql.c_str()));
  }

  const storage::MemoryFolder folder_;
  const std::string path_ = folder_.path() + "/catalog.db";
  const std::unique_ptr<MemoryService> service_ =
      GetParam() == On::kMemory
          ? std::make_unique<MemoryService>()
          : std::make_unique<MemoryService>(storage::SqliteCatalog::Open(path_).value());
  KnownClient client_;
};

// Only SQLite has rows that can be changed behind its back.
using ScrubRowsTest = ScrubTest;

TEST_P(ScrubTest, ReadsEverythingOnceAPeriodAndFindsNothingWrong) {
  Store("small", "content");
  Store("same", "content");
  Store("large", Bytes(kLarge));
  Store("longer", Bytes(kLarge) + "more");
  StoreCiphertext("own", Bytes(3000), client_);
  const auto scrub = NewScrub();
  RunAll(*scrub);
  const ScrubState state = State();
  EXPECT_FALSE(state.start_time);
  EXPECT_EQ(state.last_start_time, service_->clock.Now());
  EXPECT_EQ(state.last_end_time, service_->clock.Now());
  EXPECT_EQ(state.last_tally.packs, service_->Count().packs);
  EXPECT_EQ(state.last_tally.versions, 5);
  EXPECT_EQ(state.last_tally.damaged + state.last_tally.missing + state.last_tally.unreadable +
                state.last_tally.orphans,
            0);
  // What several have is read once.
  EXPECT_GT(state.last_tally.stored_bytes, std::ssize(Bytes(kLarge)));
  EXPECT_LT(state.last_tally.stored_bytes, 2 * std::ssize(Bytes(kLarge)));
  EXPECT_THAT(Damaged(), IsEmpty());
  // The next one is due a period after the beginning of the last.
  service_->clock.Advance(kPeriod - absl::Seconds(1));
  EXPECT_EQ(RunAll(*scrub), 0);
  service_->clock.Advance(absl::Seconds(1));
  EXPECT_GT(RunAll(*scrub), 0);
  EXPECT_EQ(State().last_start_time, service_->clock.Now());
}

TEST_P(ScrubTest, BeginsByItselfOnlyIfItIsToAndWhenTheClockWasWrong) {
  const auto on_demand = NewScrub({absl::ZeroDuration(), 0});
  EXPECT_EQ(RunAll(*on_demand), 0);
  Start();
  EXPECT_GT(RunAll(*on_demand), 0);
  EXPECT_EQ(RunAll(*on_demand), 0);
  const auto scrub = NewScrub();
  EXPECT_EQ(RunAll(*scrub), 0);
  service_->clock.Advance(-absl::Hours(5));
  EXPECT_GT(RunAll(*scrub), 0);
}

TEST_P(ScrubTest, FindsDamageOfBlobsAndMarksNothingElse) {
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
    const std::string tag = absl::StrCat(static_cast<int>(form));
    const auto seed = static_cast<uint32_t>(form);
    service_->uploads.form = form;
    Store("large" + tag, Bytes(kLarge, seed));
    Store("longer" + tag, Bytes(kLarge, seed) + "more");
    Store("other" + tag, Bytes(kLarge, 50 + seed));
    Store("small" + tag, "content" + tag);
  }
  StoreCiphertext("own", Bytes(3000, 1), client_);
  StoreCiphertext("own too", Bytes(3000, 2), client_);
  const auto pack = [&](const std::string& name) { return ChunksOf(name).front().pack_blob; };
  struct Case {
    std::string what;
    std::function<void()> injure;  // Done twice it is undone,
    Names damaged;
    int64_t findings;
  };
  std::vector<Case> cases;
  for (const std::string tag : {"1", "2"}) {
    const storage::StoredChunk first = ChunksOf("large" + tag).front();
    cases.push_back({"payload of a pack" + tag,
                     [=, this] { Flip(first.pack_blob, first.offset + 1000); },
                     {"large" + tag, "longer" + tag},
                     2});
    const storage::StoredChunk last = ChunksOf("other" + tag).back();
    cases.push_back({"last byte of a chunk" + tag,
                     [=, this] { Flip(last.pack_blob, last.offset + last.stored_size - 1); },
                     {"other" + tag},
                     1});
    cases.push_back({"footer of a pack" + tag, [=, this] { Flip(last.pack_blob, -30); }, {}, 1});
    const BlobId one = pack("large" + tag);
    const BlobId two = pack("other" + tag);
    cases.push_back({"swapped packs" + tag,
                     [=, this] { Swap(one, two); },
                     {"large" + tag, "longer" + tag, "other" + tag},
                     3});
  }
  const BlobId own = BlobOf("own");
  const BlobId own_too = BlobOf("own too");
  cases.push_back({"payload of a blob", [=, this] { Flip(own, 1000); }, {"own"}, 1});
  cases.push_back({"footer of a blob", [=, this] { Flip(own, -40); }, {"own"}, 1});
  cases.push_back({"swapped blobs", [=, this] { Swap(own, own_too); }, {"own", "own too"}, 2});
  for (const Case& each : cases) {
    SCOPED_TRACE(each.what);
    each.injure();
    const handlers::ScrubTally tally = Cycle();
    EXPECT_EQ(Damaged(), each.damaged);
    EXPECT_EQ(tally.damaged, each.findings);
    EXPECT_EQ(tally.missing + tally.unreadable + tally.orphans, 0);
    // And what was put right is found right.
    each.injure();
    EXPECT_EQ(Cycle().damaged, 0);
    EXPECT_THAT(Damaged(), IsEmpty());
    EXPECT_EQ(service_->Count().set_aside_blobs, 0);
  }
}

TEST_P(ScrubTest, FindsWhatIsMissingAndWhatIsNobodys) {
  Store("large", Bytes(kLarge, 1));
  Store("other", Bytes(kLarge, 2));
  StoreCiphertext("own", Bytes(3000), client_);
  Lose(ChunksOf("large").front().pack_blob);
  Lose(BlobOf("own"));
  StringSource nobodys("nobody's");
  ASSERT_OK(service_->blobs.Put(storage::IdOf<BlobId>(1), nobodys, std::nullopt));
  const LogCapture log;
  const handlers::ScrubTally tally = Cycle();
  EXPECT_THAT(Damaged(), UnorderedElementsAre("large", "own"));
  EXPECT_EQ(tally.missing, 2);
  EXPECT_EQ(tally.damaged, 0);
  EXPECT_EQ(tally.orphans, 1);
  EXPECT_THAT(log.text(), AllOf(HasSubstr("scrub: missing: version "),
                                HasSubstr("backupctl file get --fallback " + client_.id + " own"),
                                HasSubstr("scrub: orphan: blob ")));
  EXPECT_EQ(service_->Count().damaged_chunks, std::ssize(ChunksOf("large")));
  EXPECT_EQ(service_->Count().marked_versions, 1);
}

TEST_P(ScrubTest, FindsDamageOfContentThatIsInTheCatalog) {
  service_->StoreWhole(client_.id, "whole", "content", storage::StorageForm::kPlain);
  StoreCiphertext("own", "ciphertext", client_);
  Store("fine", "fine");
  for (const std::string name : {"whole", "own"}) {
    SCOPED_TRACE(name);
    const storage::StoredVersion stored = Find(name);
    std::string bytes = std::get<std::string>(stored.content);
    const std::string right = bytes;
    for (const size_t at : {size_t{0}, bytes.size() - 30}) {
      bytes[at] = static_cast<char>(bytes[at] ^ 1);
      service_->Replace(stored, bytes);
      EXPECT_EQ(Cycle().damaged, 1);
      EXPECT_THAT(Damaged(), ElementsAre(name));
      bytes = right;
      service_->Replace(stored, right);
      EXPECT_EQ(Cycle().damaged, 0);
      EXPECT_THAT(Damaged(), IsEmpty());
    }
  }
}

TEST_P(ScrubRowsTest, FindsDamageOfRows) {
  struct Case {
    const char* what;
    std::string injure;
    std::string undo;
    Names damaged;
  };
  Store("large", Bytes(kLarge, 1));
  Store("other", Bytes(kLarge, 2));
  Store("small", "content");
  Store("fine", "fine");
  const storage::StoredChunk hit = ChunksOf("large")[1];
  const int64_t small = ChunksOf("small").front().number;
  const int64_t recipe = std::get<storage::ChunkList>(Find("large").content).recipe;
  ASSERT_NE(recipe, 0);
  const std::string of_chunk = absl::StrCat(" WHERE chunk_no = ", hit.number, ";");
  const std::string of_recipe = absl::StrCat(" WHERE recipe_id = ", recipe, ";");
  const auto set = [&](const std::string& column, const std::string& value) {
    return absl::StrCat("UPDATE chunks SET ", column, " = ", value, of_chunk);
  };
  const std::vector<Case> cases = {
      {"a payload",
       absl::StrCat("UPDATE chunk_payloads SET payload = CAST(x'00' || payload AS BLOB) "
                    "WHERE "
                    "chunk_no = ",
                    small, ";"),
       absl::StrCat(
           "UPDATE chunk_payloads SET payload = substr(payload, 2) WHERE chunk_no = ", small, ";"),
       {"small"}},
      {"a chunk's id",
       set("chunk_id", "zeroblob(32)"),
       set("chunk_id", absl::StrCat("x'", absl::BytesToHexString(hit.ref.id.bytes()), "'")),
       {"large"}},
      {"a chunk's place",
       set("pack_offset", "pack_offset + 1"),
       set("pack_offset", "pack_offset - 1"),
       {"large"}},
      {"a chunk's size",
       set("size_bytes", "size_bytes + 1"),
       set("size_bytes", "size_bytes - 1"),
       {"large"}},
      {"a chunk's coding", set("coding", "2"), set("coding", "1"), {"large"}},
      {"a chunk's pack",
       set("pack_id", "pack_id + 1000"),
       set("pack_id", "pack_id - 1000"),
       {"large"}},
      {"a chunk's row",
       "CREATE TABLE lost AS SELECT * FROM chunks" + of_chunk + "DELETE FROM chunks" + of_chunk,
       "INSERT INTO chunks SELECT * FROM lost; DROP TABLE lost;",
       {"large"}},
      {"a step",
       "UPDATE recipe_parts SET entries = CAST(x'ff' || substr(entries, 2) AS BLOB)" + of_recipe,
       absl::StrCat("UPDATE recipe_parts SET entries = ", "(SELECT entries FROM kept)", of_recipe),
       {"large"}},
      {"the cut of a recipe",
       "UPDATE recipe_parts SET entries = substr(entries, 13)" + of_recipe,
       "UPDATE recipe_parts SET entries = (SELECT entries FROM kept)" + of_recipe,
       {"large"}},
      {"half a step",
       "UPDATE recipe_parts SET entries = substr(entries, 5)" + of_recipe,
       "UPDATE recipe_parts SET entries = (SELECT entries FROM kept)" + of_recipe,
       {"large"}},
      {"a recipe",
       "UPDATE recipes SET size_bytes = 1" + of_recipe,
       absl::StrCat("UPDATE recipes SET size_bytes = ", kLarge, of_recipe),
       {"large"}},
      {"a digest",
       "CREATE TABLE old AS SELECT version_id, sha256 FROM versions; UPDATE versions "
       "SET sha256 = zeroblob(32) WHERE chunk_no = " +
           absl::StrCat(small, ";"),
       "UPDATE versions SET sha256 = (SELECT sha256 FROM old WHERE old.version_id = "
       "versions.version_id); DROP TABLE old;",
       {"small"}}};
  Execute("CREATE TABLE kept AS SELECT entries FROM recipe_parts" + of_recipe);
  for (const Case& each : cases) {
    SCOPED_TRACE(each.what);
    Execute(each.injure);
    const handlers::ScrubTally tally = Cycle();
    EXPECT_GE(tally.damaged + tally.missing, 1);
    EXPECT_EQ(Damaged(), each.damaged);
    Execute(each.undo);
    EXPECT_EQ(Cycle().damaged, 0);
    EXPECT_THAT(Damaged(), IsEmpty());
  }
}

TEST_P(ScrubTest, ReadsAndHealsWhatIsInTheTrash) {
  StoreCiphertext("own", Bytes(3000), client_);
  Store("large", Bytes(kLarge));
  Flip(BlobOf("own"), 100);
  const storage::StoredChunk hit = ChunksOf("large").front();
  Flip(hit.pack_blob, hit.offset);
  const std::vector<int64_t> ids = {Find("own").version.version_id,
                                    Find("large").version.version_id};
  ASSERT_OK(service_->catalog.Run([&](storage::Transaction& transaction) {
    return transaction.DeleteVersions(ids, {service_->clock.Now(), /*for_good=*/false}).status();
  }));
  ASSERT_EQ(All().size(), 2);
  EXPECT_EQ(Cycle().damaged, 2);
  EXPECT_THAT(Damaged(), UnorderedElementsAre("large", "own"));
  Store("own again", Bytes(3000));
  Store("large again", Bytes(kLarge));
  RunAll(*NewScrub());
  EXPECT_THAT(Damaged(), IsEmpty());
}

TEST_P(ScrubTest, CallsNothingDamagedThatASecondLookFindsRight) {
  Store("large", Bytes(kLarge));
  StoreCiphertext("own", Bytes(3000), client_);
  const storage::StoredChunk hit = ChunksOf("large").front();
  const BlobId own = BlobOf("own");
  Flip(hit.pack_blob, hit.offset + 10);
  Flip(own, 10);
  // The footer is read first, and then the chunks.
  std::map<BlobId, int> opened;
  service_->blobs.before_open = [&](const BlobId& id) {
    const int count = ++opened[id];
    if (id == hit.pack_blob && count == 3) Flip(id, hit.offset + 10);
    if (id == own && count == 2) Flip(id, 10);
  };
  const handlers::ScrubTally tally = Cycle();
  EXPECT_GE(opened[hit.pack_blob], 3);
  EXPECT_EQ(opened[own], 2);
  EXPECT_EQ(tally.damaged, 0);
  EXPECT_THAT(Damaged(), IsEmpty());
}

// Healing.

TEST_P(ScrubTest, ShowsChunksThatTheSameClientSendsAgainAsHealed) {
  Store("large", Bytes(kLarge));
  Store("longer", Bytes(kLarge) + "more");
  const storage::StoredChunk hit = ChunksOf("large").front();
  Flip(hit.pack_blob, hit.offset + 10);
  const auto scrub = NewScrub();
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), UnorderedElementsAre("large", "longer"));
  EXPECT_THAT(Download("large"), testing::HasReason(Reason::kBlobDamaged));
  Store("large", Bytes(kLarge));
  EXPECT_THAT(Damaged(), IsEmpty());
  EXPECT_EQ(Find("longer").version.state, storage::VersionState::kVerified);
  EXPECT_TRUE(Download("longer").value_or("") == Bytes(kLarge) + "more");
  const LogCapture log;
  RunAll(*scrub);
  EXPECT_THAT(log.text(), HasSubstr("1 damaged chunks are healed"));
  EXPECT_EQ(Cycle().damaged, 0);
}

TEST_P(ScrubTest, HealsByWhatOtherClientsSendWhetherTheyShareOrNot) {
  for (const auto sharing : {handlers::Sharing::kStore, handlers::Sharing::kClient}) {
    for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
      SCOPED_TRACE(absl::StrCat(static_cast<int>(sharing), " ", static_cast<int>(form)));
      service_->uploads.sharing = sharing;
      service_->uploads.form = form;
      const std::string tag = absl::StrCat(static_cast<int>(sharing), static_cast<int>(form));
      const auto seed = static_cast<uint32_t>(10 * static_cast<int>(form)) +
                        (sharing == handlers::Sharing::kStore ? 1 : 2);
      Store("large" + tag, Bytes(kLarge, seed));
      const storage::StoredChunk hit = ChunksOf("large" + tag).front();
      Flip(hit.pack_blob, hit.offset + 10);
      const auto scrub = NewScrub();
      Start();
      RunAll(*scrub);
      EXPECT_THAT(Damaged(), ElementsAre("large" + tag));
      const KnownClient other = service_->MakeClient("other" + tag);
      service_->Store(other.id, "copy" + tag, Bytes(kLarge, seed));
      RunAll(*scrub);
      EXPECT_THAT(Damaged(), IsEmpty());
      EXPECT_TRUE(Download("large" + tag).value_or("") == Bytes(kLarge, seed));
      // The other's chunks are still the other's own.
      EXPECT_EQ(ChunksOf("large" + tag).front().number == ChunksOf("copy" + tag).front().number,
                sharing == handlers::Sharing::kStore);
      EXPECT_EQ(Cycle().damaged, 0);
    }
  }
}

TEST_P(ScrubTest, HealsByAnEqualVersionThatWasThereAlready) {
  service_->uploads.sharing = handlers::Sharing::kClient;
  const KnownClient other = service_->MakeClient("other");
  service_->Store(other.id, "copy", Bytes(kLarge));
  Store("large", Bytes(kLarge));
  Store("large too", Bytes(kLarge));
  const storage::StoredChunk hit = ChunksOf("large").front();
  Flip(hit.pack_blob, hit.offset + 10);
  const LogCapture log;
  EXPECT_EQ(Cycle().damaged, 2);
  EXPECT_THAT(Damaged(), IsEmpty());
  EXPECT_THAT(log.text(), HasSubstr("is healed: version "));
  EXPECT_TRUE(Download("large").value_or("") == Bytes(kLarge));
  EXPECT_TRUE(Download("large too").value_or("") == Bytes(kLarge));
}

TEST_P(ScrubTest, HealsAClientsCiphertextAndSetsTheOldBlobAside) {
  const std::string plain = Bytes(3000);
  StoreCiphertext("own", plain, client_);
  StoreCiphertext("other", Bytes(3000, 7), client_);
  const storage::StoredVersion before = Find("own");
  const BlobId blob = BlobOf("own");
  Flip(blob, 100);
  const auto scrub = NewScrub();
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), ElementsAre("own"));
  EXPECT_THAT(Download("own"), testing::HasReason(Reason::kBlobDamaged));
  // Nobody else may have the bytes but in another form.
  StoreCiphertext("own", plain, client_);
  EXPECT_THAT(Damaged(), ElementsAre("own"));
  const LogCapture log;
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), IsEmpty());
  EXPECT_THAT(log.text(),
              HasSubstr(absl::StrCat("version ", before.version.version_id, " of own of client ",
                                     client_.id, " is healed: version ")));
  const storage::StoredVersion after = Find("own");
  EXPECT_EQ(after.version.version_id, before.version.version_id);
  EXPECT_EQ(after.version.state, storage::VersionState::kVerified);
  EXPECT_EQ(after.version.form, storage::StorageForm::kSealed);
  EXPECT_TRUE(Download("own").value_or("") == plain);
  // The old blob is there until somebody says otherwise.
  service_->Sweep();
  EXPECT_OK(service_->memory_blobs.Open(blob).status());
  EXPECT_EQ(Cycle().orphans, 0);
  EXPECT_EQ(handlers::DiscardDamaged(service_->catalog)->discarded_count(), 1);
  service_->Sweep();
  EXPECT_FALSE(service_->memory_blobs.Open(blob).ok());
  EXPECT_EQ(service_->Count().set_aside_blobs, 0);
  EXPECT_EQ(service_->Count().healed_versions, 1);
}

TEST_P(ScrubTest, DoesNotHealByWhatCannotBeReadEither) {
  StoreCiphertext("own", Bytes(3000), client_);
  StoreCiphertext("copy", Bytes(3000), client_);
  Flip(BlobOf("own"), 100);
  EXPECT_EQ(Cycle().damaged, 1);
  EXPECT_THAT(Damaged(), IsEmpty());
  Store("large", Bytes(kLarge));
  StoreCiphertext("blob", Bytes(kLarge), client_);
  Flip(BlobOf("blob"), 100);
  const storage::StoredChunk hit = ChunksOf("large").front();
  Flip(hit.pack_blob, hit.offset);
  EXPECT_EQ(Cycle().damaged, 2);
  EXPECT_THAT(Damaged(), UnorderedElementsAre("blob", "large"));
  EXPECT_EQ(Cycle().damaged, 2);
}

// Pausing, restarts, rate.

TEST_P(ScrubTest, HealsInTheNextCycleByWhatCouldNotBeReadBefore) {
  StoreCiphertext("own", Bytes(3000), client_);
  Flip(BlobOf("own"), 100);
  const auto scrub = NewScrub();
  RunAll(*scrub);
  StoreCiphertext("again", Bytes(3000), client_);
  const BlobId again = BlobOf("again");
  Flip(again, 100);
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), ElementsAre("own"));
  Flip(again, 100);
  Start();
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), IsEmpty());
}

// Ids are reserved before content has come.
TEST_P(ScrubTest, HealsByAVersionThatCameLaterThanOneWithAHigherId) {
  StoreCiphertext("own", Bytes(kLarge), client_);
  Flip(BlobOf("own"), 100);
  testing::RandomCutSource source(Bytes(kLarge), 100'000);
  auto late = handlers::UploadFile::Prepare(
      service_->upload_resources,
      testing::HeaderOf(client_.id, "late", v1::UploadFileHeader::IDENTITY, Bytes(kLarge)), source);
  ASSERT_OK(late);
  Store("other", "content");
  const auto scrub = NewScrub();
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), ElementsAre("own"));
  ASSERT_OK(late->Respond(service_->catalog.Run(
      [&](storage::Transaction& transaction) { return late->Apply(transaction); })));
  ASSERT_LT(Find("late").version.version_id, Find("other").version.version_id);
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), ElementsAre("own"));
  service_->clock.Advance(Healing::kLookAgain);
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), IsEmpty());
}

TEST_P(ScrubRowsTest, HealsWhatIsDamagedBesideManyThatNothingHeals) {
  constexpr int64_t kMany = 5000;
  ASSERT_OK(service_->catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t first, transaction.ReserveVersionIds(kMany));
    for (int64_t id = first; id < first + kMany; ++id) {
      storage::Version version;
      version.client_id = *FromUuid<ClientId>(client_.id);
      version.file_name = absl::StrCat("lost", id);
      version.version_id = id;
      version.size_bytes = 5;
      version.sha256 = std::string(32, 's');
      RETURN_IF_ERROR(transaction.AddVersion(version, std::string("bytes"), {}).status());
      RETURN_IF_ERROR(transaction.MarkVersionDamaged(id, std::string("bytes")).status());
    }
    return absl::OkStatus();
  }));
  StoreCiphertext("own", Bytes(3000), client_);
  StoreCiphertext("copy", Bytes(3000), client_);
  const storage::StoredVersion own = Find("own");
  ASSERT_OK(service_->catalog.Run([&](storage::Transaction& transaction) {
    return transaction.MarkVersionDamaged(own.version.version_id, own.content);
  }));
  const auto scrub = NewScrub({absl::ZeroDuration(), 0});  // Which reads nothing, but heals.
  const absl::Time deadline = absl::Now() + absl::Minutes(2);
  while (service_->Count().healed_versions == 0 && absl::Now() < deadline) RunAll(*scrub);
  EXPECT_EQ(service_->Count().healed_versions, 1);
}

TEST_P(ScrubTest, StaysPausedAcrossRestartsAndGoesOnWhereItWas) {
  for (int i = 0; i < 40; ++i) Store(absl::StrCat("file", i), Bytes(2000 + i, 5));
  ASSERT_GT(service_->Count().packs, 20);
  {
    const auto scrub = NewScrub();
    EXPECT_OK(scrub->Step("", 256, std::stop_token()));
    EXPECT_EQ(State().tally.packs, 16);
    Pause();
    EXPECT_EQ(RunAll(*scrub), 0);
  }
  EXPECT_EQ(RunAll(*NewScrub()), 0);
  const ScrubState paused = State();
  EXPECT_TRUE(paused.is_paused);
  EXPECT_EQ(paused.tally.packs, 16);
  EXPECT_GT(paused.progress(), 0);
  EXPECT_LT(paused.progress(), 1);
  Start();
  RunAll(*NewScrub());
  EXPECT_EQ(State().last_tally.packs, service_->Count().packs);
  EXPECT_EQ(State().last_tally.versions, 40);
  EXPECT_FALSE(State().is_paused);
  // A pause between two cycles keeps the next one from beginning.
  Pause();
  service_->clock.Advance(2 * kPeriod);
  EXPECT_EQ(RunAll(*NewScrub()), 0);
}

TEST_P(ScrubTest, HealsWhileItIsPaused) {
  StoreCiphertext("own", Bytes(3000), client_);
  Flip(BlobOf("own"), 100);
  const auto scrub = NewScrub();
  RunAll(*scrub);
  Pause();
  StoreCiphertext("again", Bytes(3000), client_);
  RunAll(*scrub);
  EXPECT_THAT(Damaged(), IsEmpty());
}

TEST_P(ScrubTest, ReadsNoFasterThanItMay) {
  Store("large", Bytes(kLarge));
  constexpr int64_t kRate = 100'000;
  absl::Duration asked_for;
  const auto scrub = NewScrub({kPeriod, kRate}, [&](const std::stop_token&, absl::Duration wait) {
    asked_for = wait;  // Nobody waited before, so that it comes together.
    return true;
  });
  RunAll(*scrub);
  const int64_t bytes = State().last_tally.stored_bytes;
  EXPECT_GE(bytes, std::ssize(Bytes(kLarge)));
  EXPECT_NEAR(absl::ToDoubleSeconds(asked_for), static_cast<double>(bytes) / kRate, 5);
}

TEST_P(ScrubTest, UsesTheKeysWhileItReads) {
  Store("file", Bytes(200'000));
  const crypto::KeyRing& keys = service_->master_key;
  int opened = 0;
  service_->blobs.before_open = [&](const BlobId&) {
    ++opened;
    EXPECT_FALSE(keys.HaveEnded(keys.NextUse()));
  };
  RunAll(*NewScrub());
  EXPECT_GT(opened, 0);
  EXPECT_TRUE(keys.HaveEnded(keys.NextUse()));
}

TEST_P(ScrubTest, PaysForABlobPieceByPiece) {
  StoreCiphertext("own", Bytes(4 * kLarge), client_);
  constexpr int64_t kRate = 100'000;
  absl::Duration asked_for;
  absl::Duration longest;
  const auto scrub = NewScrub({kPeriod, kRate}, [&](const std::stop_token&, absl::Duration wait) {
    longest = std::max(longest, wait - asked_for);
    asked_for = wait;  // Nobody waited before, so that it comes together.
    return true;
  });
  RunAll(*scrub);
  EXPECT_NEAR(absl::ToDoubleSeconds(asked_for), 4.0 * kLarge / kRate, 5);
  EXPECT_LE(longest, absl::Seconds((2 << 20) / kRate));
}

TEST_P(ScrubTest, EndsAtOnceWhenItIsToldToStop) {
  Store("large", Bytes(kLarge));
  std::stop_source stop;
  const auto scrub = NewScrub({kPeriod, 1}, [&](const std::stop_token&, absl::Duration) {
    stop.request_stop();
    return false;
  });
  const auto progress = scrub->Step("", 256, stop.get_token());
  ASSERT_OK(progress);
  EXPECT_FALSE(progress->is_done);
  EXPECT_EQ(State().tally.packs, 0);
  RunAll(*NewScrub());
  EXPECT_EQ(State().last_tally.packs, service_->Count().packs);
}

TEST_P(ScrubTest, IsNotedOnlyIfThereWasSomethingToDo) {
  Store("large", Bytes(kLarge));
  const auto jobs = [&] {
    return service_->catalog.Read([](storage::Snapshot& snapshot) { return snapshot.ListJobs(); })
        .value();
  };
  const auto scrub = NewScrub();
  const auto run = [&] {
    JobRun(*scrub, {absl::Hours(1), 1'000'000}, service_->catalog, service_->clock, JobMetrics())
        .Run(std::stop_token());
  };
  const LogCapture log;
  run();
  EXPECT_THAT(log.text(), HasSubstr("job=scrub outcome=OK count=2 packs=1 versions=1 bytes="));
  ASSERT_EQ(jobs().size(), 1);
  const storage::JobState first = jobs().front();
  EXPECT_EQ(first.last_count, 2);
  service_->clock.Advance(absl::Hours(1));
  run();
  EXPECT_EQ(jobs().front().last_success_time, first.last_success_time);
  EXPECT_EQ(jobs().front().last_count, 2);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, ScrubTest, ::testing::Values(On::kMemory, On::kDisk));
INSTANTIATE_TEST_SUITE_P(OnDisk, ScrubRowsTest, ::testing::Values(On::kDisk));

// A process may end at any call that changes something.
class ScrubCrashTest : public ::testing::TestWithParam<Places> {
 protected:
  TestMedia media_;
};

TEST_P(ScrubCrashTest, MissesNothingWhereverItIsKilled) {
  for (const Death::When when : {Death::When::kBefore, Death::When::kAfter}) {
    bool was_killed = true;
    for (int calls = 1; was_killed; ++calls) {
      ASSERT_LT(calls, 100);
      SCOPED_TRACE(absl::StrCat(calls, when == Death::When::kBefore ? " before" : " after"));
      ChunkWorld world(media_.MakeQuickly(GetParam().on));
      const HowStored how{GetParam().form};
      for (int i = 0; i < 3; ++i)
        world.Store(absl::StrCat("file", i), {RandomBytes(i, 100'000), RandomBytes(9, 5000)}, how);
      world.StoreWhole("own", RandomBytes(20, 100'000), storage::StorageForm::kPlain);
      world.StoreWhole("equal", RandomBytes(20, 100'000), storage::StorageForm::kPlain);
      const storage::StoredChunk bad = world.ChunksOf("file1").front();
      world.Damage(bad.pack_blob, bad.offset + 5);
      const BlobId bad_blob = world.BlobOf("own");
      world.Damage(bad_blob, 5);
      const auto scrub = [&] {
        Scrub job(world.resources(), world.places(), {kPeriod, 0}, ScrubMetrics());
        return world.RunUntilIdle(job);
      };
      world.death.After(calls, when);
      scrub().IgnoreError();
      was_killed = world.death.has_come();
      world.Restart();
      world.clock.Advance(absl::Hours(1));
      ASSERT_OK(scrub());
      ASSERT_OK(world.Sweep());
      // Found, and nothing else; what could be healed is.
      EXPECT_TRUE(world.VersionOf("file1").is_damaged);
      for (const std::string name : {"file0", "file2", "own", "equal"})
        EXPECT_FALSE(world.VersionOf(name).is_damaged) << name;
      EXPECT_EQ(world.Count().damaged_chunks, 1);
      EXPECT_EQ(world.Count().healed_versions, 1);
      EXPECT_EQ(world.Count().set_aside_blobs, 1);
      EXPECT_OK(world.medium.blobs->Open(bad_blob).status());
      EXPECT_TRUE(world.Read("own").value_or("") == RandomBytes(20, 100'000));
      EXPECT_EQ(world.Count().dropped_recipes, 0);
    }
  }
}

// An I/O error is none of the content's.
TEST_P(ScrubCrashTest, MarksNothingThatTheMediumDoesNotGive) {
  ChunkWorld world(media_.MakeQuickly(GetParam().on));
  world.Store("file", {RandomBytes(1, 100'000)}, {GetParam().form});
  world.Store("other", {RandomBytes(2, 100'000)}, {GetParam().form});
  Scrub job(world.resources(), world.places(), {kPeriod, 0}, ScrubMetrics());
  world.blobs->unreadable = world.ChunksOf("file").front().pack_blob;
  ASSERT_OK(world.RunUntilIdle(job));
  const auto state = [&] {
    return world.catalog
        ->Read([](storage::Snapshot& snapshot) { return handlers::FindScrub(snapshot); })
        .value();
  };
  EXPECT_EQ(state().last_tally.unreadable, 1);
  EXPECT_EQ(state().last_tally.damaged + state().last_tally.missing, 0);
  EXPECT_FALSE(world.VersionOf("file").is_damaged);
  world.blobs->unreadable.reset();
  world.clock.Advance(kPeriod);
  ASSERT_OK(world.RunUntilIdle(job));
  EXPECT_EQ(state().last_tally.unreadable, 0);
  world.ExpectAllIsThere();
}

INSTANTIATE_TEST_SUITE_P(Everywhere, ScrubCrashTest, AllPlaces());

}  // namespace
}  // namespace backup::jobs
