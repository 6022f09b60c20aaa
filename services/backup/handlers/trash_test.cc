#include "services/backup/handlers/trash.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/list_clients.h"
#include "services/backup/handlers/list_files.h"
#include "services/backup/handlers/list_trash.h"
#include "services/backup/handlers/verify_store.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/memory_service.h"
#include "storage/memory/memory_catalog.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/repeating_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::handlers {
namespace {

using ::testing::ElementsAre;
using testing::HasReason;
using testing::LegacyPeer;
using testing::MemoryService;

constexpr absl::Duration kRetention = absl::Hours(168);

class TrashTest : public ::testing::Test {
 protected:
  TrashTest() { service_.trash.retention = kRetention; }

  // A client with a key, which `peer` has.
  std::string MakeClient(const std::string& name, const LegacyPeer& peer) {
    v1::ExchangeKeyRequest request;
    request.set_client_id(service_.Register(name));
    request.set_public_key(peer.PublicKey());
    EXPECT_OK(service_.ExchangeKey(request));
    return request.client_id();
  }
  absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey(const std::string& id, const LegacyPeer& peer,
                                                      const std::string& name = "laptop") {
    v1::ExchangeKeyRequest request;
    request.set_client_id(id);
    request.set_name(name);
    request.set_public_key(peer.PublicKey());
    return service_.ExchangeKey(request);
  }
  absl::StatusOr<v1::ResumeClientResponse> Resume(const std::string& id,
                                                  const std::string& name = "laptop") {
    v1::ResumeClientRequest request;
    request.set_client_id(id);
    request.set_name(name);
    return service_.ResumeClient(request);
  }
  absl::StatusOr<v1::DeleteClientResponse> DeleteClient(const std::string& id) {
    v1::DeleteClientRequest request;
    request.set_client_id(id);
    return service_.DeleteClient(request);
  }
  absl::StatusOr<v1::DeleteFileResponse> DeleteFile(const std::string& name) {
    v1::DeleteFileRequest request;
    request.set_client_id(client_);
    request.set_file_name(name);
    return service_.DeleteFile(request);
  }
  absl::StatusOr<v1::UndeleteFileResponse> UndeleteFile(const std::string& name) {
    v1::UndeleteFileRequest request;
    request.set_client_id(client_);
    request.set_file_name(name);
    return service_.UndeleteFile(request);
  }
  absl::StatusOr<v1::UndeleteVersionResponse> UndeleteVersion(const std::string& name,
                                                              int64_t version_id) {
    v1::UndeleteVersionRequest request;
    request.set_client_id(client_);
    request.set_file_name(name);
    request.set_version_id(version_id);
    return service_.UndeleteVersion(request);
  }
  absl::StatusOr<v1::UndeleteClientResponse> UndeleteClient(const std::string& id,
                                                            const std::string& name = "") {
    v1::UndeleteClientRequest request;
    request.set_client_id(id);
    request.set_name(name);
    return service_.UndeleteClient(request);
  }
  absl::StatusOr<v1::EmptyTrashResponse> EmptyTrash(const std::string& client_id = "") {
    v1::EmptyTrashRequest request;
    request.set_client_id(client_id);
    return service_.EmptyTrash(request);
  }
  absl::StatusOr<v1::ListTrashResponse> ListTrash(const v1::ListTrashRequest& request) {
    return service_.catalog.Read([&](storage::Snapshot& snapshot) {
      return handlers::ListTrash(snapshot, service_.trash, request);
    });
  }
  // "client NAME" and "FILE@VERSION", page by page.
  std::vector<std::string> Listed(v1::ListTrashRequest request = {}) {
    std::vector<std::string> listed;
    do {
      const v1::ListTrashResponse page = ListTrash(request).value();
      for (const v1::TrashedClient& client : page.clients())
        listed.push_back(absl::StrCat("client ", client.client().name()));
      for (const v1::TrashedVersion& version : page.versions()) {
        listed.push_back(
            absl::StrCat(version.version().file_name(), "@", version.version().version_id()));
      }
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return listed;
  }
  std::vector<std::string> Files(const std::string& client_id) {
    v1::ListFilesRequest request;
    request.set_client_id(client_id);
    std::vector<std::string> names;
    const auto files = service_.Read(ListFiles, request);
    if (!files.ok()) return {std::string(files.status().message())};
    for (const v1::File& file : files->files()) names.push_back(file.file_name());
    return names;
  }

  MemoryService service_{
      std::make_unique<storage::RepeatingCatalog>(std::make_unique<storage::MemoryCatalog>())};
  const LegacyPeer peer_;
  const std::string client_ = MakeClient("laptop", peer_);
};

TEST_F(TrashTest, TakesAVersionBackUntilItIsPurged) {
  const int64_t id = service_.Store(client_, "file", "content");
  v1::DeleteVersionRequest request;
  request.set_client_id(client_);
  request.set_file_name("file");
  request.set_version_id(id);
  const v1::DeleteVersionResponse deleted = service_.DeleteVersion(request).value();
  EXPECT_EQ(deleted.purge_time().seconds(), absl::ToUnixSeconds(service_.clock.Now() + kRetention));
  EXPECT_THAT(service_.Download(testing::DownloadOf(client_, "file", 0)),
              HasReason(Reason::kFileNotFound));
  EXPECT_THAT(Listed(), ElementsAre(absl::StrCat("file@", id)));
  EXPECT_EQ(UndeleteVersion("file", id)->version().version_id(), id);
  EXPECT_THAT(service_.Download(testing::DownloadOf(client_, "file", 0)),
              testing::IsOkAndHolds("content"));
  EXPECT_OK(UndeleteVersion("file", id));
  EXPECT_THAT(UndeleteVersion("file", 0), HasReason(Reason::kInvalidField));
  EXPECT_THAT(UndeleteVersion("file", id + 1), HasReason(Reason::kVersionNotFound));
  EXPECT_THAT(UndeleteVersion("none", id), HasReason(Reason::kFileNotFound));
}

TEST_F(TrashTest, DeletesAFileOfMoreVersionsThanOneTransactionTakes) {
  constexpr int kVersions = storage::Transaction::kMaxDeletedVersions + 2;
  for (int i = 0; i < kVersions; ++i) service_.Store(client_, "file", "content");
  service_.Store(client_, "other", "content");
  const v1::DeleteFileResponse deleted = DeleteFile("file").value();
  EXPECT_EQ(deleted.version_count(), kVersions);
  EXPECT_TRUE(deleted.has_purge_time());
  EXPECT_THAT(Files(client_), ElementsAre("other"));
  EXPECT_THAT(DeleteFile("file"), HasReason(Reason::kFileNotFound));
  EXPECT_EQ(UndeleteFile("file")->version_count(), kVersions);
  EXPECT_THAT(Files(client_), ElementsAre("file", "other"));
  EXPECT_EQ(UndeleteFile("file")->version_count(), 0);
  EXPECT_THAT(UndeleteFile("none"), HasReason(Reason::kFileNotFound));
  service_.trash.retention = absl::ZeroDuration();
  EXPECT_FALSE(DeleteFile("file")->has_purge_time());
  EXPECT_EQ(service_.Count().trash_versions, 0);
  EXPECT_THAT(UndeleteFile("file"), HasReason(Reason::kFileNotFound));
}

// A transaction reads no recipe, and so does not know it.
TEST_F(TrashTest, TellsOfAVersionThatIsTakenBackThatOneOfItsChunksIsDamaged) {
  const storage::TempFolder folder;
  MemoryService service(storage::SqliteCatalog::Open(folder.path() + "/catalog.db").value());
  service.trash.retention = kRetention;
  v1::UndeleteVersionRequest request;
  request.set_client_id(service.MakeClient("laptop").id);
  request.set_file_name("file");
  request.set_version_id(
      // More than the largest chunk.
      service.Store(request.client_id(), "file", testing::PseudoRandomBytes(5'000'000)));
  const std::vector<storage::StoredChunk> chunks =
      service.ChunksOf(service.Stored(request.client_id(), "file", request.version_id()));
  ASSERT_GT(chunks.size(), 1u);
  ASSERT_OK(service.Delete(request.client_id(), "file", request.version_id()));
  ASSERT_OK(service.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.MarkDamaged(chunks.back().number, chunks.back().pack);
  }));
  EXPECT_EQ(service.UndeleteVersion(request)->version().state(), v1::FileVersion::DAMAGED);
}

TEST_F(TrashTest, ListsClientsThenVersionsPageByPage) {
  const LegacyPeer other_peer;
  for (const char* name : {"b", "a"}) {
    const std::string id = MakeClient(name, other_peer);
    service_.Store(id, "file", "content");
    EXPECT_TRUE(DeleteClient(id)->has_purge_time());
    service_.clock.Advance(absl::Seconds(1));
  }
  std::vector<std::string> expected = {"client b", "client a"};
  for (const char* name : {"z", "y", "x"}) {
    expected.push_back(absl::StrCat(name, "@", service_.Store(client_, name, "content")));
    EXPECT_OK(DeleteFile(name));
    service_.clock.Advance(absl::Seconds(1));
  }
  for (const int page_size : {1, 2, 3, 4, 5, 100}) {
    v1::ListTrashRequest request;
    request.set_page_size(page_size);
    EXPECT_EQ(Listed(request), expected) << page_size;
  }
  v1::ListTrashRequest of_client;
  of_client.set_client_id(client_);
  of_client.set_page_size(2);
  EXPECT_EQ(Listed(of_client), std::vector<std::string>(expected.begin() + 2, expected.end()));
  of_client.set_file_name("y");
  EXPECT_THAT(Listed(of_client), ElementsAre(expected[3]));
  // Those of a file from the newest on, whenever they were deleted.
  std::vector<std::string> of_file = {expected[3]};
  for (int i = 0; i < 4; ++i) {
    const int64_t id = service_.Store(client_, "y", "content");
    EXPECT_OK(service_.Delete(client_, "y", id));
    of_file.insert(of_file.begin(), absl::StrCat("y@", id));
  }
  EXPECT_EQ(Listed(of_client), of_file);
  const v1::ListTrashResponse all = ListTrash({}).value();
  EXPECT_EQ(all.clients(0).version_count(), 1);
  EXPECT_EQ(all.clients(0).file_count(), 1);
  EXPECT_EQ(all.clients(0).client().stored_bytes(), 7);
  EXPECT_EQ(all.clients(0).purge_time().seconds() - all.clients(0).delete_time().seconds(),
            absl::ToInt64Seconds(kRetention));
}

TEST_F(TrashTest, RefusesListsThatMakeNoSense) {
  v1::ListTrashRequest request;
  request.set_file_name("file");
  EXPECT_THAT(ListTrash(request), HasReason(Reason::kInvalidField));
  request.set_client_id("x");
  EXPECT_THAT(ListTrash(request), HasReason(Reason::kInvalidField));
  request.set_client_id(client_);
  request.set_page_size(-1);
  EXPECT_THAT(ListTrash(request), HasReason(Reason::kInvalidField));
  request.set_page_size(1);
  request.set_page_token("x");
  EXPECT_THAT(ListTrash(request), HasReason(Reason::kInvalidField));
}

TEST_F(TrashTest, EmptiesTheTrashOfOneClientOrOfAll) {
  const LegacyPeer other_peer;
  const std::string other = MakeClient("other", other_peer);
  for (const std::string& id : {client_, other}) {
    for (const char* name : {"a", "b"}) service_.Store(id, name, "content");
  }
  EXPECT_OK(DeleteFile("a"));
  EXPECT_OK(DeleteClient(other));
  v1::EmptyTrashResponse emptied = EmptyTrash(other).value();
  EXPECT_EQ(emptied.version_count(), 2);
  EXPECT_EQ(emptied.client_count(), 1);
  EXPECT_EQ(service_.Count().trash_versions, 1);
  EXPECT_THAT(UndeleteClient(other), HasReason(Reason::kClientNotFound));
  emptied = EmptyTrash().value();
  EXPECT_EQ(emptied.version_count(), 1);
  EXPECT_EQ(emptied.client_count(), 0);
  EXPECT_EQ(service_.Count().trash_versions, 0);
  EXPECT_EQ(service_.Count().versions, 1);
  EXPECT_EQ(EmptyTrash()->version_count(), 0);
  EXPECT_THAT(EmptyTrash("x"), HasReason(Reason::kInvalidField));
}

TEST_F(TrashTest, EmptiesWhatWasDeletedByAClockThatWasAhead) {
  service_.uploads.min_retention = absl::Hours(2);
  for (const char* name : {"a", "b"}) service_.Store(client_, name, "content");
  service_.clock.Advance(absl::Hours(48));
  EXPECT_OK(DeleteFile("a"));
  service_.clock.Advance(-absl::Hours(47));
  EXPECT_EQ(EmptyTrash()->version_count(), 0);  // It must be kept for another hour.
  service_.clock.Advance(absl::Hours(1));
  EXPECT_EQ(EmptyTrash()->version_count(), 1);
  EXPECT_EQ(service_.Count().versions, 1);
}

TEST_F(TrashTest, TakesAClientBackByItsIdOrItsName) {
  service_.Store(client_, "file", "content");
  EXPECT_OK(DeleteClient(client_));
  EXPECT_THAT(UndeleteClient("", "none"), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(UndeleteClient("x"), HasReason(Reason::kInvalidField));
  const v1::UndeleteClientResponse back = UndeleteClient("", "laptop").value();
  EXPECT_EQ(back.client().client_id(), client_);
  EXPECT_EQ(back.file_count(), 1);
  EXPECT_EQ(back.version_count(), 1);
  EXPECT_THAT(Files(client_), ElementsAre("file"));
  EXPECT_OK(DeleteClient(client_));
  service_.Register("laptop");
  EXPECT_THAT(UndeleteClient(client_), HasReason(Reason::kNameTaken));
  service_.duplicate_names = storage::DuplicateNames::kAllow;
  EXPECT_OK(UndeleteClient(client_));
}

TEST_F(TrashTest, TakesAClientBackThatResumes) {
  service_.Store(client_, "file", "content");
  const int64_t gone = service_.Store(client_, "gone", "content");
  EXPECT_OK(service_.Delete(client_, "gone", gone));
  EXPECT_OK(DeleteClient(client_));
  EXPECT_THAT(Files(client_), ElementsAre(::testing::HasSubstr("no such client")));
  EXPECT_EQ(Resume(client_)->client_id(), client_);
  EXPECT_THAT(Files(client_), ElementsAre("file"));
  EXPECT_THAT(Listed(), ElementsAre(absl::StrCat("gone@", gone)));
  EXPECT_OK(DeleteClient(client_));
  EXPECT_EQ(Resume("")->client_id(), client_);  // By its name.
  EXPECT_EQ(service_.Count().trash_clients, 0);
}

TEST_F(TrashTest, TakesAClientBackThatSendsItsKeyAgain) {
  service_.Store(client_, "file", "content");
  EXPECT_OK(DeleteClient(client_));
  const LegacyPeer stranger;
  EXPECT_THAT(ExchangeKey(client_, stranger), HasReason(Reason::kClientNotFound));
  EXPECT_EQ(service_.Count().trash_clients, 1);
  EXPECT_EQ(ExchangeKey(client_, peer_)->client_id(), client_);
  EXPECT_THAT(Files(client_), ElementsAre("file"));
}

// Its id stays its own, so that it can be taken back, and nobody gets its files with another key.
TEST_F(TrashTest, AdoptsNobodyUnderTheIdOfAClientInTheTrash) {
  service_.keys.unknown_key = UnknownKey::kAdopt;
  service_.keys.rekey = storage::Rekey::kAllow;
  service_.Store(client_, "file", "content");
  EXPECT_OK(DeleteClient(client_));
  const LegacyPeer stranger;
  EXPECT_THAT(ExchangeKey(client_, stranger), HasReason(Reason::kClientNotFound));
  EXPECT_EQ(service_.Count().clients, 0);
  EXPECT_OK(EmptyTrash());
  EXPECT_EQ(ExchangeKey(client_, stranger)->client_id(), client_);
  EXPECT_TRUE(Files(client_).empty());
}

TEST_F(TrashTest, TakesNoClientBackWhoseNameIsAnothersByNow) {
  EXPECT_OK(DeleteClient(client_));
  const std::string successor = MakeClient("laptop", LegacyPeer());
  EXPECT_NE(successor, client_);
  EXPECT_THAT(Resume(client_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ExchangeKey(client_, peer_), HasReason(Reason::kClientNotFound));
  EXPECT_EQ(Resume("")->client_id(), successor);
  service_.keys.duplicate_names = storage::DuplicateNames::kAllow;
  EXPECT_EQ(Resume(client_)->client_id(), client_);
}

TEST_F(TrashTest, TakesNoClientBackThatNeverHadAKey) {
  const std::string id = service_.Register("young");
  EXPECT_OK(DeleteClient(id));
  EXPECT_THAT(Resume(id, "young"), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ExchangeKey(id, peer_, "young"), HasReason(Reason::kClientNotFound));
  EXPECT_NE(service_.Register("young"), id);
}

TEST_F(TrashTest, TurnsUploadsOfAClientInTheTrashAway) {
  EXPECT_OK(DeleteClient(client_));
  EXPECT_THAT(
      service_.Upload(testing::HeaderOf(client_, "file", v1::UploadFileHeader::IDENTITY, "x"), "x"),
      HasReason(Reason::kClientNotFound));
  EXPECT_THAT(service_.Report(client_, "file", v1::ReportTransferRequest::VERIFIED),
              HasReason(Reason::kClientNotFound));
  EXPECT_EQ(service_.Count().trash_clients, 1);
}

TEST_F(TrashTest, IsVerifiedToo) {
  service_.uploads.inline_blob_limit = 0;
  const int64_t id = service_.StoreWhole(client_, "file", "content", storage::StorageForm::kPlain);
  service_.StoreWhole(client_, "another", "content", storage::StorageForm::kPlain);
  const BlobId blob = std::get<BlobId>(service_.Stored(client_, "file", id).content);
  EXPECT_OK(DeleteFile("file"));
  service_.ReplaceBlob(blob, "damaged");
  std::vector<v1::VerifyStoreResponse> events;
  EXPECT_OK(VerifyStore(service_.stored_places, service_.stages.pieces, v1::VerifyStoreRequest(),
                        [&](const v1::VerifyStoreResponse& event) {
                          events.push_back(event);
                          return absl::OkStatus();
                        }));
  EXPECT_EQ(events.back().summary().checked_versions(), 2);
  EXPECT_EQ(events.back().summary().damaged_versions(), 1);
  EXPECT_TRUE(std::any_of(events.begin(), events.end(), [](const v1::VerifyStoreResponse& event) {
    return absl::StrContains(event.finding().detail(), "in the trash");
  }));
}

}  // namespace
}  // namespace backup::handlers
