#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

using testing::HasReason;
using testing::IsOkAndHolds;

// Deleting, taking back and purging, of one client and another.
class CatalogTrash : public CatalogContract {
 protected:
  static Deletion IntoTrash(int seconds) { return {At(seconds)}; }

  // A verified version.
  Version AddVerified(const std::string& file_name,
                      const NewContent& content = std::string("bytes")) {
    const Version version = Add(client_, file_name, content);
    EXPECT_TRUE(Settle(client_, file_name, Outcome::kVerified));
    return version;
  }
  absl::Status DeleteVersion(const Version& version, int seconds = 10) {
    return Run([&](Transaction& transaction) {
      return transaction.DeleteVersion(version.client_id, version.file_name, version.version_id,
                                       IntoTrash(seconds));
    });
  }
  absl::StatusOr<Version> Undelete(const Version& version) {
    return Run([&](Transaction& transaction) {
      return transaction.UndeleteVersion(version.client_id, version.file_name, version.version_id);
    });
  }
  absl::Status DeleteClient(const ClientId& id, int seconds = 10) {
    return Run([&](Transaction& transaction) { return transaction.DeleteClient(id, At(seconds)); });
  }
  absl::StatusOr<Client> UndeleteClient(const ClientId& id,
                                        DuplicateNames policy = DuplicateNames::kReject) {
    return Run([&](Transaction& transaction) { return transaction.UndeleteClient(id, policy); });
  }
  absl::StatusOr<int64_t> Purge(const std::vector<int64_t>& ids, int seconds) {
    return Run(
        [&](Transaction& transaction) { return transaction.PurgeVersions(ids, At(seconds)); });
  }
  PurgedClient PurgeClient(const ClientId& id, int seconds, int limit) {
    return Run([&](Transaction& transaction) {
             return transaction.PurgeClient(id, At(seconds), limit);
           })
        .value();
  }
  absl::StatusOr<Client> FindTrashedClient(const ClientId& id) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindTrashedClient(id); });
  }
  std::vector<int64_t> ListTrash(const TrashFilter& filter = {},
                                 const TrashPosition<int64_t>& after = {}, int limit = 100) {
    std::vector<int64_t> ids;
    const auto versions = Read([&](Snapshot& snapshot) {
                            return snapshot.ListTrashedVersions(filter, after, limit);
                          }).value();
    for (const Version& version : versions) ids.push_back(version.version_id);
    return ids;
  }
  std::vector<ClientId> ListTrashedClients(const TrashPosition<ClientId>& after = {},
                                           int limit = 100) {
    std::vector<ClientId> ids;
    const auto clients =
        Read([&](Snapshot& snapshot) { return snapshot.ListTrashedClients(after, limit); }).value();
    for (const Client& client : clients) ids.push_back(client.id);
    return ids;
  }

  // All that deleting and taking back may change.
  std::string Everything() {
    std::string text;
    const Counts counts = Count();
    absl::StrAppend(&text, counts.clients, " clients, ", counts.files, " files, ", counts.versions,
                    " versions, ", counts.verified_versions, " verified, ",
                    counts.abandoned_versions, " abandoned, ", counts.stored_bytes, " bytes, ",
                    counts.blob_bytes, " of blobs, ", counts.unmoved_versions, " unmoved, ",
                    counts.chunks, " chunks, trash ", counts.trash_clients, " ",
                    counts.trash_versions, " ", counts.trash_files, " ", counts.trash_bytes, "\n");
    const auto clients =
        Read([](Snapshot& snapshot) { return snapshot.ListClients(ClientId(), 100); }).value();
    for (const Client& client : clients) {
      absl::StrAppend(&text, client.name, " ", client.stored_bytes, " ", client.kept_bytes, " ",
                      client.file_count, " ", client.version_count, "\n");
      const std::vector<File> files = ListFiles(client.id, "", 100).value();
      for (const File& file : files) {
        absl::StrAppend(&text, "  ", file.name, " ", file.version_count, " newest ",
                        file.newest_verified ? file.newest_verified->version_id : 0, ":");
        const std::vector<Version> versions = ListVersions(client.id, file.name, 0, 100).value();
        for (const Version& version : versions)
          absl::StrAppend(&text, " ", version.version_id, "/", static_cast<int>(version.state));
        absl::StrAppend(&text, "\n");
      }
    }
    return text;
  }

  const ClientId client_ = RegisterWithKey("name", 1).id;
  const ClientId other_ = Register("other", 2).id;
};

TEST_P(CatalogTrash, HidesAVersionThatIsDeletedAndShowsItAgainAsItWas) {
  const Version first = AddVerified("file", Blob(IdOf<BlobId>(1)));
  const Version second = AddVerified("file");
  AddVerified("another");
  const std::string before = Everything();
  ASSERT_OK(DeleteVersion(second));
  EXPECT_EQ(FindVersion(client_, "file", 0)->version.version_id, first.version_id);
  EXPECT_THAT(FindVersion(client_, "file", second.version_id), HasReason(Reason::kVersionNotFound));
  EXPECT_THAT(DeleteVersion(second), HasReason(Reason::kVersionNotFound));
  EXPECT_EQ(ListVersions(client_, "file", 0, 10)->size(), 1u);
  EXPECT_EQ(ListFiles(client_, "", 10)->at(1).version_count, 1);
  EXPECT_EQ(Count().versions, 2);
  EXPECT_EQ(Count().verified_versions, 2);
  EXPECT_EQ(Count().stored_bytes, 20);
  EXPECT_EQ(Count().trash_versions, 1);
  EXPECT_EQ(Count().trash_bytes, 10);
  EXPECT_EQ(FindClient(client_)->stored_bytes, 20);
  EXPECT_EQ(FindClient(client_)->version_count, 2);
  EXPECT_THAT(Undelete(second), ::testing::Not(HasReason(Reason::kVersionNotFound)));
  EXPECT_EQ(Everything(), before);
  EXPECT_OK(Undelete(second));  // It is there already.
  EXPECT_EQ(Everything(), before);
}

TEST_P(CatalogTrash, HidesAFileWithTheLastOfItsVersions) {
  const Version first = AddVerified("file");
  const Version second = Add(client_, "file");
  const std::string before = Everything();
  ASSERT_OK(DeleteVersion(first));
  ASSERT_OK(DeleteVersion(second));
  EXPECT_THAT(FindVersion(client_, "file", 0), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(FindVersion(client_, "file", first.version_id), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(ListVersions(client_, "file", 0, 10), HasReason(Reason::kFileNotFound));
  EXPECT_TRUE(ListFiles(client_, "", 10)->empty());
  EXPECT_EQ(Count().files, 0);
  EXPECT_EQ(FindClient(client_)->file_count, 0);
  EXPECT_OK(Undelete(first));
  EXPECT_OK(Undelete(second));
  EXPECT_EQ(Everything(), before);
}

TEST_P(CatalogTrash, BringsAFileBackUnderANameThatWasUsedAgain) {
  const Version first = AddVerified("file");
  ASSERT_OK(DeleteVersion(first));
  const Version second = AddVerified("file");
  EXPECT_EQ(ListVersions(client_, "file", 0, 10)->size(), 1u);
  EXPECT_EQ(Count().files, 1);
  EXPECT_OK(Undelete(first));
  EXPECT_EQ(ListVersions(client_, "file", 0, 10)->size(), 2u);
  EXPECT_EQ(FindVersion(client_, "file", 0)->version.version_id, second.version_id);
  EXPECT_EQ(Count().files, 1);
}

TEST_P(CatalogTrash, KeepsContentUntilItIsPurged) {
  const Version in_blob = AddVerified("blob", Blob(IdOf<BlobId>(1)));
  NewChunks chunks;
  chunks.inlined = {{{IdOf<ChunkId>(1), 10}, StorageForm::kPlain, ChunkCoding::kRaw, "12"}};
  chunks.recipe = {{IdOf<ChunkId>(1), 10}};
  const Version in_chunks = AddVerified("chunks", chunks);
  const int64_t kept_bytes = FindClient(client_)->kept_bytes;
  ASSERT_OK(DeleteVersion(in_blob));
  ASSERT_OK(DeleteVersion(in_chunks));
  EXPECT_EQ(FindClient(client_)->kept_bytes, 0);
  EXPECT_EQ(UseOf(IdOf<BlobId>(1)), BlobUse::kReferenced);
  EXPECT_EQ(Count().chunks, 1);
  EXPECT_EQ(Count().blob_bytes, kBlobSize);
  const auto scanned =
      Read([](Snapshot& snapshot) { return snapshot.ScanVersions(0, 10); }).value();
  ASSERT_EQ(scanned.size(), 2u);
  EXPECT_EQ(scanned[0].version.delete_time, At(10));
  EXPECT_EQ(scanned[0].content, Content(IdOf<BlobId>(1)));
  const auto unmoved =
      Read([](Snapshot& snapshot) { return snapshot.ListUnmovedVersions(0, 10); }).value();
  ASSERT_EQ(unmoved.size(), 1u);
  EXPECT_EQ(unmoved[0].version.delete_time, At(10));
  EXPECT_OK(Undelete(in_chunks));
  EXPECT_EQ(FindClient(client_)->kept_bytes, kept_bytes - kBlobSize);
  ASSERT_OK(DeleteVersion(in_chunks));
  EXPECT_THAT(Purge({in_blob.version_id, in_chunks.version_id}, 10), IsOkAndHolds(2));
  EXPECT_EQ(UseOf(IdOf<BlobId>(1)), BlobUse::kDropped);
  EXPECT_EQ(Count().chunks, 0);
  EXPECT_EQ(Count().blob_bytes, 0);
  EXPECT_EQ(Count().trash_versions, 0);
  EXPECT_EQ(Count().trash_bytes, 0);
  EXPECT_THAT(Undelete(in_blob), HasReason(Reason::kFileNotFound));
}

TEST_P(CatalogTrash, MovesContentThatIsInTheTrash) {
  const Version version = AddVerified("file", Blob(IdOf<BlobId>(1)));
  ASSERT_OK(DeleteVersion(version));
  NewChunks chunks;
  chunks.inlined = {{{IdOf<ChunkId>(1), 10}, StorageForm::kPlain, ChunkCoding::kRaw, "12"}};
  chunks.recipe = {{IdOf<ChunkId>(1), 10}};
  EXPECT_THAT(Run([&](Transaction& transaction) {
                return transaction.ReplaceContent(version.version_id, IdOf<BlobId>(1), chunks);
              }),
              IsOkAndHolds(true));
  EXPECT_EQ(FindClient(client_)->kept_bytes, 0);
  EXPECT_EQ(Count().unmoved_versions, 0);
  EXPECT_EQ(Count().trash_bytes, 10);
  EXPECT_OK(Undelete(version));
  EXPECT_EQ(FindClient(client_)->kept_bytes, 2);
}

TEST_P(CatalogTrash, PurgesOnlyWhatWasDeletedThenOrBefore) {
  const Version old = AddVerified("file");
  const Version young = AddVerified("file");
  const Version there = AddVerified("file");
  ASSERT_OK(DeleteVersion(old, 10));
  ASSERT_OK(DeleteVersion(young, 11));
  const std::vector<int64_t> all = {old.version_id, young.version_id, there.version_id, 9999};
  EXPECT_THAT(Purge(all, 9), IsOkAndHolds(0));
  EXPECT_THAT(Purge(all, 10), IsOkAndHolds(1));
  EXPECT_THAT(ListTrash(), ::testing::ElementsAre(young.version_id));
  EXPECT_THAT(Purge(all, 100), IsOkAndHolds(1));
  EXPECT_EQ(Count().versions, 1);
  EXPECT_THAT(Purge(all, 100), IsOkAndHolds(0));
}

TEST_P(CatalogTrash, ForgetsAFileWithTheLastVersionInTheTrash) {
  const Version first = AddVerified("file");
  const Version second = AddVerified("file");
  ASSERT_OK(DeleteVersion(first));
  ASSERT_OK(RemoveVersion(client_, "file", second.version_id));
  EXPECT_EQ(Count().files, 0);
  EXPECT_OK(Undelete(first));  // The file is still known.
  EXPECT_EQ(Count().files, 1);
  ASSERT_OK(DeleteVersion(first));
  EXPECT_THAT(Purge({first.version_id}, 10), IsOkAndHolds(1));
  EXPECT_THAT(Undelete(first), HasReason(Reason::kFileNotFound));
}

// Of several files and clients, in every state, with content of every kind.
TEST_P(CatalogTrash, CountsManyThatGoAtOnceAsOneAfterTheOther) {
  const std::vector<Version> versions = {
      AddVerified("a"), AddVerified("a", Blob(IdOf<BlobId>(1))), Add(client_, "b"),
      Add(client_, "c", Blob(IdOf<BlobId>(2))), Add(other_, "a", Blob(IdOf<BlobId>(3)))};
  ASSERT_TRUE(Settle(client_, "c", Outcome::kAbandoned));
  AddVerified("a");  // Stays.
  std::vector<int64_t> ids;
  for (const Version& version : versions) ids.push_back(version.version_id);
  const std::string before = Everything();
  // One of them twice.
  std::vector<int64_t> going = ids;
  going.push_back(ids[1]);
  EXPECT_THAT(Run([&](Transaction& transaction) {
                return transaction.DeleteVersions(going, IntoTrash(10));
              }),
              IsOkAndHolds(5));
  const std::string at_once = Everything();
  EXPECT_NE(at_once, before);
  EXPECT_THAT(Run([&](Transaction& transaction) { return transaction.UndeleteVersions(ids); }),
              IsOkAndHolds(5));
  EXPECT_EQ(Everything(), before);
  for (const Version& version : versions) EXPECT_OK(DeleteVersion(version));
  EXPECT_EQ(Everything(), at_once);
}

TEST_P(CatalogTrash, DeletesManyAtOnceAndSkipsThoseThatAreGone) {
  const Version a = AddVerified("a");
  const Version b = AddVerified("b");
  const Version c = Add(other_, "c");
  ASSERT_OK(DeleteVersion(a, 10));
  const auto remove = [&](const std::vector<int64_t>& ids, const Deletion& deletion) {
    return Run([&](Transaction& transaction) { return transaction.DeleteVersions(ids, deletion); });
  };
  const std::vector<int64_t> ids = {a.version_id, b.version_id, c.version_id, 9999};
  EXPECT_THAT(remove(ids, IntoTrash(20)), IsOkAndHolds(2));
  EXPECT_THAT(ListTrash(), ::testing::ElementsAre(a.version_id, b.version_id, c.version_id));
  EXPECT_EQ(Count().trash_versions, 3);
  // What is in the trash is gone already.
  EXPECT_THAT(remove(ids, {At(30), /*for_good=*/true}), IsOkAndHolds(0));
  EXPECT_THAT(Run([&](Transaction& transaction) { return transaction.UndeleteVersions(ids); }),
              IsOkAndHolds(3));
  EXPECT_THAT(remove(ids, {At(30), /*for_good=*/true}), IsOkAndHolds(3));
  EXPECT_EQ(Count().trash_versions, 0);
  EXPECT_EQ(Count().versions, 0);
  const std::vector<int64_t> too_many(Transaction::kMaxDeletedVersions + 1, 1);
  EXPECT_FALSE(remove(too_many, IntoTrash(1)).ok());
}

TEST_P(CatalogTrash, ListsWhatWasDeletedInThatOrder) {
  const Version a = AddVerified("file a");
  const Version b = AddVerified("file b");
  const Version c = AddVerified("file b");
  const Version d = Add(other_, "file b");
  ASSERT_OK(DeleteVersion(c, 10));
  ASSERT_OK(DeleteVersion(b, 10));
  ASSERT_OK(DeleteVersion(d, 11));
  ASSERT_OK(DeleteVersion(a, 12));
  EXPECT_THAT(ListTrash(),
              ::testing::ElementsAre(b.version_id, c.version_id, d.version_id, a.version_id));
  EXPECT_THAT(ListTrash({}, {At(10), b.version_id}, 2),
              ::testing::ElementsAre(c.version_id, d.version_id));
  EXPECT_THAT(ListTrash({client_, std::nullopt}, {At(10), b.version_id}),
              ::testing::ElementsAre(c.version_id, a.version_id));
  EXPECT_THAT(ListTrash({client_, "file b"}), ::testing::ElementsAre(c.version_id, b.version_id));
  EXPECT_THAT(ListTrash({client_, "file b"}, {At(10), c.version_id}, 1),
              ::testing::ElementsAre(b.version_id));
  EXPECT_THAT(ListTrash({nobody_, std::nullopt}), ::testing::IsEmpty());
}

TEST_P(CatalogTrash, ListsThatOfAFileFromItsNewestVersionOn) {
  const Version a = AddVerified("file");
  const Version b = AddVerified("file");
  const Version c = AddVerified("file");
  ASSERT_OK(DeleteVersion(c, 10));
  ASSERT_OK(DeleteVersion(a, 11));
  ASSERT_OK(DeleteVersion(b, 12));
  const TrashFilter filter{client_, "file"};
  EXPECT_THAT(ListTrash(filter), ::testing::ElementsAre(c.version_id, b.version_id, a.version_id));
  EXPECT_THAT(ListTrash(filter, {absl::InfinitePast(), c.version_id}, 1),
              ::testing::ElementsAre(b.version_id));
  EXPECT_THAT(ListTrash(filter, {absl::InfiniteFuture(), a.version_id}), ::testing::IsEmpty());
}

TEST_P(CatalogTrash, TakesAnUploadInTheTrashForGone) {
  const UploadId upload = IdOf<UploadId>(1);
  const Version first = Add(client_, "file", std::string("a"), upload);
  ASSERT_OK(DeleteVersion(first));
  EXPECT_EQ(FindUpload(client_, upload).value(), std::nullopt);
  EXPECT_THAT(SettleVersion({client_, "file", upload, Outcome::kVerified}),
              HasReason(Reason::kVersionNotFound));
  const Version second = Add(client_, "file", std::string("a"), upload);
  EXPECT_NE(second.version_id, first.version_id);
  EXPECT_OK(Undelete(first));
  EXPECT_EQ(FindUpload(client_, upload).value()->version_id, second.version_id);
}

TEST_P(CatalogTrash, LeavesVerdictsWithoutAnUploadNothingToSettle) {
  const Version older = Add(client_, "file");
  const Version newer = Add(client_, "file");
  ASSERT_OK(DeleteVersion(newer));
  for (const Outcome outcome : {Outcome::kRetrying, Outcome::kAbandoned, Outcome::kVerified})
    EXPECT_FALSE(Settle(client_, "file", outcome));
  EXPECT_EQ(StateOf(older), VersionState::kReceived);
  ASSERT_OK(DeleteVersion(older));
  EXPECT_THAT(SettleVersion({client_, "file", std::nullopt, Outcome::kVerified}),
              HasReason(Reason::kFileNotFound));
  EXPECT_FALSE(Settle(client_, "file", Outcome::kAbandoned));
  EXPECT_OK(Undelete(newer));
  EXPECT_EQ(StateOf(newer), VersionState::kReceived);
}

TEST_P(CatalogTrash, HidesAClientWithAllItHasAndShowsItAgainAsItWas) {
  AddVerified("a", Blob(IdOf<BlobId>(1)));
  Add(client_, "a");
  Add(client_, "b", Blob(IdOf<BlobId>(2)));
  Settle(client_, "b", Outcome::kAbandoned);
  const Version alone = AddVerified("c");
  const Version named = Add(client_, "d", std::string("d"), IdOf<UploadId>(1));
  Add(other_, "a");
  ASSERT_OK(DeleteVersion(alone, 9));
  const std::string before = Everything();
  ASSERT_OK(DeleteClient(client_));
  EXPECT_THAT(DeleteClient(client_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(FindClient(client_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(FindClientByName("name"), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(TouchClient(client_, At(11)), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(SetClientKey(client_, {"key", "sealed"}, Rekey::kAllow, At(11)),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ListFiles(client_, "", 10), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ListVersions(client_, "a", 0, 10), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(FindVersion(client_, "a", 0), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(AddVersion(MakeVersion(client_, "e"), std::string()),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(SettleVersion({client_, "a", std::nullopt, Outcome::kVerified}),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(DeleteVersion(named), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Undelete(alone), HasReason(Reason::kClientNotFound));
  EXPECT_EQ(FindUpload(client_, IdOf<UploadId>(1)).value(), std::nullopt);
  const Counts counts = Count();
  EXPECT_EQ(counts.clients, 1);
  EXPECT_EQ(counts.files, 1);
  EXPECT_EQ(counts.versions, 1);
  EXPECT_EQ(counts.verified_versions, 0);
  EXPECT_EQ(counts.abandoned_versions, 0);
  EXPECT_EQ(counts.stored_bytes, 10);
  EXPECT_EQ(counts.trash_clients, 1);
  EXPECT_EQ(counts.trash_versions, 5);
  EXPECT_EQ(counts.trash_bytes, 40);
  EXPECT_EQ(counts.blob_bytes, kBlobSize);
  EXPECT_EQ(LastVerifiedTime(At(9)), std::nullopt);
  EXPECT_EQ(Read([](Snapshot& snapshot) {
              return snapshot.CountStaleClients(absl::InfiniteFuture(), At(9));
            }).value(),
            1);
  const Client hidden = FindTrashedClient(client_).value();
  EXPECT_EQ(hidden.delete_time, At(10));
  EXPECT_EQ(hidden.public_key, "key");
  EXPECT_EQ(hidden.file_count, 3);
  EXPECT_EQ(hidden.version_count, 4);
  const auto scanned =
      Read([](Snapshot& snapshot) { return snapshot.ScanVersions(0, 10); }).value();
  ASSERT_EQ(scanned.size(), 6u);
  EXPECT_EQ(scanned[0].version.delete_time, At(10));
  EXPECT_EQ(scanned[3].version.delete_time, At(9));
  EXPECT_EQ(scanned[5].version.delete_time, std::nullopt);
  EXPECT_EQ(UndeleteClient(client_)->delete_time, std::nullopt);
  EXPECT_EQ(Everything(), before);
  EXPECT_OK(UndeleteClient(client_));
  EXPECT_EQ(Everything(), before);
  EXPECT_THAT(ListTrash(), ::testing::ElementsAre(alone.version_id));
}

TEST_P(CatalogTrash, IsNoneOfRetentionsBusiness) {
  const auto ages = [&] {
    std::vector<int64_t> ids;
    const AgesPage page =
        Read([](Snapshot& snapshot) { return snapshot.ListAges(AgesPlace(), 100); }).value();
    for (const FileAges& file : page.files) {
      for (const VersionAge& version : file.versions) ids.push_back(version.version_id);
    }
    return ids;
  };
  const Version first = AddVerified("file");
  const Version second = AddVerified("file");
  const Version other = Add(other_, "file");
  ASSERT_OK(DeleteVersion(second));
  EXPECT_THAT(ages(), ::testing::ElementsAre(first.version_id, other.version_id));
  ASSERT_OK(DeleteClient(client_));
  EXPECT_THAT(ages(), ::testing::ElementsAre(other.version_id));
}

TEST_P(CatalogTrash, FreesTheNameOfAClientAndGivesItBackUnlessItIsTaken) {
  ASSERT_OK(DeleteClient(client_));
  const ClientId successor = RegisterWithKey("name", 3).id;
  EXPECT_EQ(FindClientByName("name")->id, successor);
  EXPECT_THAT(UndeleteClient(client_), HasReason(Reason::kNameTaken));
  EXPECT_OK(FindTrashedClient(client_));
  EXPECT_OK(UndeleteClient(client_, DuplicateNames::kAllow));
  EXPECT_EQ(FindClientByName("name")->id, successor);
  EXPECT_THAT(UndeleteClient(nobody_), HasReason(Reason::kClientNotFound));
}

TEST_P(CatalogTrash, FindsTheClientOfANameThatWasDeletedLast) {
  const auto find = [&](const std::string& name) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindTrashedClientByName(name); });
  };
  EXPECT_THAT(find("name"), HasReason(Reason::kClientNotFound));
  const ClientId successor = RegisterClient("name", 3, DuplicateNames::kAllow, At(1))->id;
  ASSERT_OK(DeleteClient(successor, 10));
  EXPECT_EQ(find("name")->id, successor);
  ASSERT_OK(DeleteClient(client_, 11));
  EXPECT_EQ(find("name")->id, client_);
  EXPECT_THAT(find("other"), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(FindTrashedClient(other_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ListTrashedClients(), ::testing::ElementsAre(successor, client_));
  EXPECT_THAT(ListTrashedClients({At(10), successor}), ::testing::ElementsAre(client_));
  EXPECT_THAT(ListTrashedClients({}, 1), ::testing::ElementsAre(successor));
}

TEST_P(CatalogTrash, PurgesAClientAFewVersionsAtATime) {
  for (const char* name : {"a", "a", "b"}) AddVerified(name);
  const Version alone = AddVerified("c", Blob(IdOf<BlobId>(1)));
  Add(other_, "a");
  ASSERT_OK(DeleteVersion(alone, 9));
  ASSERT_OK(DeleteClient(client_, 10));
  PurgedClient step = PurgeClient(client_, 9, 3);
  EXPECT_EQ(step.versions, 0);
  EXPECT_FALSE(step.is_gone);  // It was there then.
  EXPECT_OK(FindTrashedClient(client_));
  step = PurgeClient(client_, 10, 3);
  EXPECT_EQ(step.versions, 3);
  EXPECT_FALSE(step.is_gone);
  EXPECT_EQ(Count().trash_versions, 1);
  step = PurgeClient(client_, 10, 3);
  EXPECT_EQ(step.versions, 1);
  EXPECT_TRUE(step.is_gone);
  EXPECT_THAT(FindTrashedClient(client_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(UndeleteClient(client_), HasReason(Reason::kClientNotFound));
  const Counts counts = Count();
  EXPECT_EQ(counts.trash_clients, 0);
  EXPECT_EQ(counts.trash_versions, 0);
  EXPECT_EQ(counts.trash_bytes, 0);
  EXPECT_EQ(counts.clients, 1);
  EXPECT_EQ(counts.versions, 1);
  EXPECT_EQ(counts.files, 1);
  EXPECT_EQ(UseOf(IdOf<BlobId>(1)), BlobUse::kDropped);
  // Of those that are not in the trash nothing goes.
  EXPECT_FALSE(PurgeClient(other_, 1000, 3).is_gone);
  EXPECT_FALSE(PurgeClient(nobody_, 1000, 3).is_gone);
  EXPECT_OK(FindClient(other_));
}

TEST_P(CatalogTrash, GivesNobodyBackWhatIsLeftOfAClientThatWasPurgedHalf) {
  for (const char* name : {"a", "b", "c"}) AddVerified(name);
  ASSERT_OK(DeleteClient(client_, 10));
  EXPECT_FALSE(PurgeClient(client_, 10, 2).is_gone);
  EXPECT_THAT(UndeleteClient(client_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(FindTrashedClient(client_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Read([](Snapshot& snapshot) { return snapshot.FindTrashedClientByName("name"); }),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ListTrashedClients(), ::testing::ElementsAre(client_));  // The purge goes on.
  const PurgedClient step = PurgeClient(client_, 10, 2);
  EXPECT_EQ(step.versions, 1);
  EXPECT_TRUE(step.is_gone);
  EXPECT_EQ(Count().trash_clients, 0);
  EXPECT_EQ(Count().trash_versions, 0);
}

TEST_P(CatalogTrash, NotesNoDeletionBeforeTheNewestTimeThatWasNoted) {
  const Version version = AddVerified("file");
  ASSERT_OK(Run([&](Transaction& transaction) {
    return transaction.SaveClockNote({At(1), absl::Seconds(2), "boot", At(20), std::nullopt, ""});
  }));
  ASSERT_OK(DeleteVersion(version, 10));
  ASSERT_OK(DeleteClient(other_, 10));
  EXPECT_EQ(FindTrashedClient(other_)->delete_time, At(20));
  EXPECT_THAT(Purge({version.version_id}, 19), IsOkAndHolds(0));
  EXPECT_THAT(Purge({version.version_id}, 20), IsOkAndHolds(1));
}

TEST_P(CatalogTrash, LeavesVersionsOfAClientInTheTrashAlone) {
  const std::vector<int64_t> ids{AddVerified("a").version_id, AddVerified("a").version_id};
  const Version alone = AddVerified("a");
  ASSERT_OK(DeleteVersion(alone));
  ASSERT_OK(DeleteClient(client_, 10));
  EXPECT_THAT(
      Run([&](Transaction& transaction) { return transaction.DeleteVersions(ids, IntoTrash(11)); }),
      IsOkAndHolds(0));
  EXPECT_THAT(Run([&](Transaction& transaction) {
                return transaction.ExpireVersions({{ids[0], VersionState::kVerified, ids[1]}},
                                                  IntoTrash(11));
              }),
              IsOkAndHolds(0));
  EXPECT_THAT(Run([&](Transaction& transaction) {
                return transaction.UndeleteVersions({alone.version_id});
              }),
              IsOkAndHolds(0));
  EXPECT_EQ(UndeleteClient(client_)->version_count, 2);
}

}  // namespace backup::storage
