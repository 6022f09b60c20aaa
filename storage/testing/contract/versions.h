#pragma once

#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

using testing::HasReason;

TEST_P(CatalogContract, ReservesEverLargerVersionIds) {
  const auto reserve = [&](int64_t count) {
    return Run([&](Transaction& transaction) { return transaction.ReserveVersionIds(count); })
        .value();
  };
  const int64_t first = reserve(10);
  EXPECT_GT(first, 0);
  const int64_t second = reserve(1);
  EXPECT_GE(second, first + 10);
  EXPECT_GE(reserve(1), second + 1);
}

TEST_P(CatalogContract, TellsTheNextVersionId) {
  const auto next = [&] {
    return Read([](Snapshot& snapshot) { return snapshot.NextVersionId(); }).value();
  };
  const int64_t first = next();
  EXPECT_EQ(next(), first);
  ASSERT_OK(Run([&](Transaction& transaction) { return transaction.ReserveVersionIds(7); }));
  EXPECT_EQ(next(), first + 7);
}

TEST_P(CatalogContract, KeepsEveryFieldOfAVersion) {
  const ClientId id = Register("name", 1).id;
  Version version = MakeVersion(id, std::string("f\0\xFF", 3), IdOf<UploadId>(1));
  version.size_bytes = int64_t{1} << 40;
  ASSERT_OK(AddVersion(version, std::string("by\0tes", 6)));
  const StoredVersion stored = FindVersion(id, version.file_name, version.version_id).value();
  EXPECT_EQ(stored.version.client_id, id);
  EXPECT_EQ(stored.version.file_name, version.file_name);
  EXPECT_EQ(stored.version.version_id, version.version_id);
  EXPECT_EQ(stored.version.size_bytes, version.size_bytes);
  EXPECT_EQ(stored.version.encoded_size, 16);
  EXPECT_EQ(stored.version.checksum_kind, ChecksumKind::kCrc32OfCiphertext);
  EXPECT_EQ(stored.version.checksum, 0xFEDCBA98);
  EXPECT_EQ(stored.version.sha256, version.sha256);
  EXPECT_EQ(stored.version.state, VersionState::kReceived);
  EXPECT_EQ(stored.version.receive_time, At(2));
  EXPECT_EQ(stored.version.verify_time, std::nullopt);
  EXPECT_EQ(stored.version.form, StorageForm::kSealed);
  EXPECT_EQ(stored.version.upload_id, IdOf<UploadId>(1));
  EXPECT_EQ(stored.content, Content(std::string("by\0tes", 6)));
}

TEST_P(CatalogContract, GivesContentOnlyWhenAsked) {
  const ClientId id = Register("name", 1).id;
  const Version in_catalog = Add(id, "small", std::string());
  const Version in_blob = Add(id, "large", Blob(IdOf<BlobId>(1)));
  EXPECT_EQ(FindVersion(id, "small", in_catalog.version_id, true).value().content,
            Content(std::string()));
  EXPECT_EQ(FindVersion(id, "large", in_blob.version_id, true).value().content,
            Content(IdOf<BlobId>(1)));
  EXPECT_EQ(FindVersion(id, "large", in_blob.version_id, false).value().content, Content());
}

TEST_P(CatalogContract, AddsAnUploadOnceHoweverOftenItIsSent) {
  const ClientId id = Register("name", 1).id;
  const Version first = Add(id, "file", Blob(IdOf<BlobId>(1)), IdOf<UploadId>(1));
  const Version again = Add(id, "file", Blob(IdOf<BlobId>(2)), IdOf<UploadId>(1));
  EXPECT_EQ(again.version_id, first.version_id);
  EXPECT_EQ(Count().versions, 1);
  EXPECT_EQ(FindUpload(id, IdOf<UploadId>(1)).value().value().version_id, first.version_id);
}

TEST_P(CatalogContract, TellsTheSameUploadIdOfTwoClientsApart) {
  const ClientId id = Register("name", 1).id;
  const ClientId other = Register("other", 2).id;
  const UploadId upload = IdOf<UploadId>(1);
  const Version mine = Add(id, "file", std::string("a"), upload);
  EXPECT_EQ(FindUpload(other, upload).value(), std::nullopt);
  const Version theirs = Add(other, "file", std::string("b"), upload);
  EXPECT_NE(theirs.version_id, mine.version_id);
  EXPECT_EQ(FindUpload(id, upload).value().value().version_id, mine.version_id);
  EXPECT_EQ(FindUpload(other, upload).value().value().version_id, theirs.version_id);
  EXPECT_EQ(FindUpload(id, IdOf<UploadId>(9)).value(), std::nullopt);
}

TEST_P(CatalogContract, SaysWhetherTheFileOrOnlyTheVersionIsNotThere) {
  const ClientId id = Register("name", 1).id;
  const Version version = Add(id, "file");
  const Version other = Add(id, "other");
  EXPECT_THAT(FindVersion(id, "none", 0), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(ListVersions(id, "none", 0, 10), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(RemoveVersion(id, "none", version.version_id), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(FindVersion(id, "file", other.version_id), HasReason(Reason::kVersionNotFound));
  EXPECT_THAT(RemoveVersion(id, "file", other.version_id), HasReason(Reason::kVersionNotFound));
}

TEST_P(CatalogContract, DeletesOneVersionAndTheFileWithItsLast) {
  const ClientId id = Register("name", 1).id;
  const Version first = Add(id, "file", Blob(IdOf<BlobId>(1)));
  const Version second = Add(id, "file");
  ASSERT_OK(RemoveVersion(id, "file", first.version_id));
  EXPECT_THAT(FindVersion(id, "file", first.version_id, false),
              HasReason(Reason::kVersionNotFound));
  ASSERT_OK(RemoveVersion(id, "file", second.version_id));
  EXPECT_THAT(ListVersions(id, "file", 0, 10), HasReason(Reason::kFileNotFound));
  EXPECT_EQ(Count().files, 0);
}

// Lists.

TEST_P(CatalogContract, ListsFilesPageByPageInTheOrderOfTheirBytes) {
  const ClientId id = Register("name", 1).id;
  Add(Register("other", 2).id, "foreign");
  const std::vector<std::string> names = {"B", "a", "ab", "b", std::string("b\0", 2), "\xFF"};
  for (auto name = names.rbegin(); name != names.rend(); ++name) Add(id, *name);
  std::vector<std::string> listed;
  std::string after;
  while (true) {
    const std::vector<File> page = ListFiles(id, after, 4).value();
    if (page.empty()) break;
    for (const File& file : page) listed.push_back(file.name);
    after = page.back().name;
  }
  EXPECT_EQ(listed, names);
}

TEST_P(CatalogContract, ListsFilesWithTheirNewestVerifiedVersion) {
  const ClientId id = Register("name", 1).id;
  Add(id, "a");
  Settle(id, "a", Outcome::kVerified);
  const Version newest = Add(id, "a");
  Settle(id, "a", Outcome::kVerified);
  Add(id, "a");
  Add(id, "b");
  const std::vector<File> files = ListFiles(id, "", 10).value();
  ASSERT_EQ(files.size(), 2u);
  ASSERT_TRUE(files[0].newest_verified.has_value());
  EXPECT_EQ(files[0].newest_verified->version_id, newest.version_id);
  EXPECT_EQ(files[0].version_count, 3);
  EXPECT_FALSE(files[1].newest_verified.has_value());
  EXPECT_EQ(files[1].version_count, 1);
}

TEST_P(CatalogContract, ListsVersionsPageByPageNewestFirst) {
  const ClientId id = Register("name", 1).id;
  std::vector<int64_t> added;
  for (int i = 0; i < 5; ++i) added.insert(added.begin(), Add(id, "file").version_id);
  Add(id, "other");
  std::vector<int64_t> listed;
  int64_t before = 0;
  while (true) {
    const std::vector<Version> page = ListVersions(id, "file", before, 2).value();
    if (page.empty()) break;
    EXPECT_LE(page.size(), 2u);
    for (const Version& version : page) listed.push_back(version.version_id);
    before = page.back().version_id;
  }
  EXPECT_EQ(listed, added);
}

TEST_P(CatalogContract, ScansTheVersionsOfAllClientsWithTheirContent) {
  const auto scan = [&](int64_t after) {
    return Read([&](Snapshot& snapshot) { return snapshot.ScanVersions(after, 2); }).value();
  };
  const ClientId id = Register("name", 1).id;
  const Version first = Add(id, "file", Blob(IdOf<BlobId>(1)));
  const Version second = Add(Register("other", 2).id, "file", std::string("inline"));
  const Version third = Add(id, "gone");
  Settle(id, "gone", Outcome::kAbandoned);
  const std::vector<StoredVersion> page = scan(0);
  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0].version.version_id, first.version_id);
  EXPECT_EQ(page[0].content, Content(IdOf<BlobId>(1)));
  EXPECT_EQ(page[1].version.version_id, second.version_id);
  EXPECT_EQ(page[1].version.client_id, second.client_id);
  EXPECT_EQ(page[1].content, Content(std::string("inline")));
  const std::vector<StoredVersion> rest = scan(second.version_id);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].version.version_id, third.version_id);
  EXPECT_EQ(rest[0].content, Content());
}

}  // namespace backup::storage
