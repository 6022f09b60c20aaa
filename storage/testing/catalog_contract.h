#pragma once

#include <algorithm>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/catalog.h"

namespace backup::storage {

// An id that begins with `first`, so that ids are in the order of their numbers.
template <typename IdType>
IdType IdOf(uint8_t first, uint8_t second = 0) {
  std::string bytes(IdType::kSize, '\x11');
  bytes[0] = static_cast<char>(first);
  bytes[1] = static_cast<char>(second);
  return *IdType::FromBytes(bytes);
}

// What storage/catalog.h promises. An implementation's test instantiates it with a maker of empty
// catalogs.
class CatalogContract : public ::testing::TestWithParam<std::function<std::unique_ptr<Catalog>()>> {
 protected:
  static absl::Time At(int seconds) { return absl::FromUnixSeconds(1'700'000'000 + seconds); }

  Client Register(const std::string& name, uint8_t id) {
    return catalog_->RegisterClient(name, IdOf<ClientId>(id), DuplicateNames::kReject, At(0))
        .value();
  }

  Client RegisterWithKey(const std::string& name, uint8_t id) {
    Register(name, id);
    return catalog_->SetClientKey(IdOf<ClientId>(id), {"key", "sealed"}, Rekey::kPin, At(1))
        .value();
  }

  Version MakeVersion(const ClientId& client, const std::string& file_name) {
    Version version;
    version.client_id = client;
    version.file_name = file_name;
    version.version_id = catalog_->AllocateVersionId().value();
    version.size_bytes = 10;
    version.encoded_size = 16;
    version.checksum_kind = ChecksumKind::kCrc32OfCiphertext;
    version.checksum = 0xFEDCBA98;
    version.sha256 = std::string(32, '\xAB');
    version.receive_time = At(2);
    version.form = StorageForm::kSealed;
    return version;
  }

  Version Add(const ClientId& client, const std::string& file_name,
              const Content& content = std::string("bytes")) {
    return catalog_->AddVersion(MakeVersion(client, file_name), content, {}).value();
  }

  // The blobs that were released.
  std::vector<BlobId> Settle(const ClientId& client, const std::string& file_name,
                             Outcome outcome) {
    return SettleOnce(client, file_name, outcome).released;
  }

  Settlement SettleOnce(const ClientId& client, const std::string& file_name, Outcome outcome) {
    return catalog_->SettleVersion(client, file_name, outcome, Learning::kOff, At(3)).value();
  }

  VersionState StateOf(const Version& version) {
    return catalog_->FindVersion(version.client_id, version.file_name, version.version_id, false)
        .value()
        .version.state;
  }

  const std::unique_ptr<Catalog> catalog_ = GetParam()();
  const ClientId nobody_ = IdOf<ClientId>(250);
};

using testing::HasReason;

// Clients.

TEST_P(CatalogContract, RegistersAClientAndFindsItByIdAndName) {
  const std::string name("na\0me\xFF", 6);
  const Client client = Register(name, 1);
  EXPECT_EQ(client.id, IdOf<ClientId>(1));
  EXPECT_EQ(client.create_time, At(0));
  EXPECT_EQ(client.last_seen_time, At(0));
  EXPECT_EQ(client.public_key, "");
  EXPECT_EQ(client.sealed_session_key, "");
  EXPECT_EQ(client.last_verified_time, std::nullopt);
  EXPECT_EQ(catalog_->FindClient(client.id).value().name, name);
  EXPECT_EQ(catalog_->FindClientByName(name).value().id, client.id);
}

TEST_P(CatalogContract, SaysThatAClientIsNotThere) {
  EXPECT_THAT(catalog_->FindClient(nobody_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->FindClientByName("nobody"), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->DeleteClient(nobody_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->SetClientKey(nobody_, {"key", "sealed"}, Rekey::kAllow, At(1)),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->TouchClient(nobody_, At(1)), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->AddVersion(MakeVersion(nobody_, "file"), Content(), {}),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->ListFiles(nobody_, "", 10), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->ListVersions(nobody_, "file", 0, 10), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->FindVersion(nobody_, "file", 0, true), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(catalog_->DeleteVersion(nobody_, "file", 1), HasReason(Reason::kClientNotFound));
  for (const Outcome outcome : {Outcome::kVerified, Outcome::kRetrying, Outcome::kAbandoned}) {
    EXPECT_THAT(catalog_->SettleVersion(nobody_, "file", outcome, Learning::kOff, At(1)),
                HasReason(Reason::kClientNotFound));
  }
  EXPECT_EQ(catalog_->Count().value().files, 0);
}

TEST_P(CatalogContract, GivesARegistrationWithoutAKeyToWhoeverAsksAgain) {
  for (const DuplicateNames policy : {DuplicateNames::kReject, DuplicateNames::kAllow}) {
    Register("name", 1);
    const auto again = catalog_->RegisterClient("name", IdOf<ClientId>(2), policy, At(5));
    ASSERT_OK(again);
    EXPECT_EQ(again->id, IdOf<ClientId>(1));
    EXPECT_EQ(again->last_seen_time, At(5));
  }
  EXPECT_EQ(catalog_->Count().value().clients, 1);
}

TEST_P(CatalogContract, RejectsANameWhoseClientHasAKey) {
  RegisterWithKey("name", 1);
  EXPECT_THAT(catalog_->RegisterClient("name", IdOf<ClientId>(2), DuplicateNames::kReject, At(5)),
              HasReason(Reason::kNameTaken));
  EXPECT_THAT(catalog_->FindClient(IdOf<ClientId>(2)), HasReason(Reason::kClientNotFound));
}

TEST_P(CatalogContract, AllowsANameTwiceIfAskedToAndFindsTheLastRegistered) {
  // The ids go down and the clock goes back, so that neither can stand in for the order.
  RegisterWithKey("name", 3);
  for (const uint8_t id : {2, 1}) {
    ASSERT_OK(
        catalog_->RegisterClient("name", IdOf<ClientId>(id), DuplicateNames::kAllow, At(-id)));
    EXPECT_EQ(catalog_->FindClientByName("name").value().id, IdOf<ClientId>(id));
    ASSERT_OK(catalog_->SetClientKey(IdOf<ClientId>(id), {"key", "sealed"}, Rekey::kPin, At(1)));
  }
  EXPECT_EQ(catalog_->Count().value().clients, 3);
}

TEST_P(CatalogContract, FreesANameWhenItsClientIsDeleted) {
  RegisterWithKey("name", 1);
  ASSERT_OK(catalog_->DeleteClient(IdOf<ClientId>(1)));
  EXPECT_EQ(Register("name", 2).id, IdOf<ClientId>(2));
}

TEST_P(CatalogContract, ListsClientsPageByPageInOrder) {
  for (const uint8_t id : {5, 200, 3, 130, 4}) Register(absl::StrCat("client ", id), id);
  std::vector<ClientId> listed;
  ClientId after;
  while (true) {
    const std::vector<Client> page = catalog_->ListClients(after, 2).value();
    if (page.empty()) break;
    EXPECT_LE(page.size(), 2u);
    for (const Client& client : page) listed.push_back(client.id);
    after = page.back().id;
  }
  EXPECT_THAT(listed,
              ::testing::ElementsAre(IdOf<ClientId>(3), IdOf<ClientId>(4), IdOf<ClientId>(5),
                                     IdOf<ClientId>(130), IdOf<ClientId>(200)));
  EXPECT_TRUE(catalog_->ListClients(ClientId(), 0).value().empty());
}

TEST_P(CatalogContract, ListsStaleClientsByTheirLastVerifiedFileElseByTheirRegistration) {
  for (const uint8_t id : {1, 2, 3}) Register(absl::StrCat("client ", id), id);
  Add(IdOf<ClientId>(2), "a", IdOf<BlobId>(1));
  Settle(IdOf<ClientId>(2), "a", Outcome::kVerified);
  const Client verified = catalog_->FindClient(IdOf<ClientId>(2)).value();
  const absl::Time registered = catalog_->FindClient(IdOf<ClientId>(1)).value().create_time;
  const auto stale = [&](absl::Time since, const ClientId& after, int limit) {
    std::vector<ClientId> ids;
    const std::vector<Client> clients = catalog_->ListStaleClients(since, after, limit).value();
    for (const Client& client : clients) ids.push_back(client.id);
    return ids;
  };
  EXPECT_THAT(stale(registered, ClientId(), 10), ::testing::IsEmpty());
  const absl::Time later = *verified.last_verified_time + absl::Microseconds(1);
  EXPECT_THAT(stale(later, ClientId(), 2),
              ::testing::ElementsAre(IdOf<ClientId>(1), IdOf<ClientId>(2)));
  EXPECT_THAT(stale(later, IdOf<ClientId>(2), 2), ::testing::ElementsAre(IdOf<ClientId>(3)));
  EXPECT_EQ(catalog_->CountStaleClients(registered).value(), 0);
  EXPECT_EQ(catalog_->CountStaleClients(later).value(), 3);
  ASSERT_OK(catalog_->ProbeWrite());
  EXPECT_EQ(catalog_->Count().value().clients, 3);
}

TEST_P(CatalogContract, DeletesAClientWithAllItHas) {
  const ClientId id = Register("name", 1).id;
  const ClientId other = Register("other", 2).id;
  Add(id, "a", IdOf<BlobId>(1));
  Settle(id, "a", Outcome::kVerified);
  Add(id, "a", IdOf<BlobId>(2));
  Add(id, "b", IdOf<BlobId>(3));
  Settle(id, "b", Outcome::kAbandoned);
  Add(id, "c");
  Add(other, "a", IdOf<BlobId>(4));
  const std::vector<BlobId> released = catalog_->DeleteClient(id).value();
  EXPECT_THAT(released, ::testing::UnorderedElementsAre(IdOf<BlobId>(1), IdOf<BlobId>(2)));
  EXPECT_THAT(catalog_->FindClient(id), HasReason(Reason::kClientNotFound));
  const Counts counts = catalog_->Count().value();
  EXPECT_EQ(counts.clients, 1);
  EXPECT_EQ(counts.files, 1);
  EXPECT_EQ(counts.versions, 1);
  EXPECT_EQ(counts.verified_versions, 0);
  EXPECT_EQ(counts.stored_bytes, 10);
  EXPECT_TRUE(catalog_->HasBlob(IdOf<BlobId>(4)).value());
}

TEST_P(CatalogContract, NotesThatAClientWasSeen) {
  const ClientId id = Register("name", 1).id;
  ASSERT_OK(catalog_->TouchClient(id, At(50)));
  Register("other", 2);  // Whatever was only remembered is written with the next change.
  EXPECT_EQ(catalog_->FindClient(id).value().last_seen_time, At(50));
  Add(id, "file");
  EXPECT_EQ(catalog_->FindClient(id).value().last_seen_time, At(50));
}

TEST_P(CatalogContract, KeepsANoteThatAClientWasSeenWhenTheNextChangeFails) {
  const ClientId id = Register("name", 1).id;
  ASSERT_OK(catalog_->TouchClient(id, At(50)));
  EXPECT_THAT(catalog_->DeleteClient(nobody_), HasReason(Reason::kClientNotFound));
  Register("other", 2);
  EXPECT_EQ(catalog_->FindClient(id).value().last_seen_time, At(50));
}

// Keys.

TEST_P(CatalogContract, StoresAKey) {
  const ClientId id = Register("name", 1).id;
  const auto client = catalog_->SetClientKey(id, {"key", "sealed", 256}, Rekey::kPin, At(7));
  ASSERT_OK(client);
  EXPECT_EQ(client->public_key, "key");
  EXPECT_EQ(client->sealed_session_key, "sealed");
  EXPECT_EQ(client->session_key_bits, 256);
  EXPECT_EQ(client->last_seen_time, At(7));
  EXPECT_EQ(catalog_->FindClient(id).value().sealed_session_key, "sealed");
}

TEST_P(CatalogContract, KeepsTheSessionKeyOfTheSamePublicKeyUnlessAskedToRotateOrResize) {
  const ClientId id = RegisterWithKey("name", 1).id;
  EXPECT_EQ(
      catalog_->SetClientKey(id, {"key", "second"}, Rekey::kPin, At(2)).value().sealed_session_key,
      "sealed");
  EXPECT_EQ(catalog_->SetClientKey(id, {"key", "third", 256}, Rekey::kPin, At(3))
                .value()
                .sealed_session_key,
            "third");
  const KeyGrant rotated = {"key", "fourth", 256, true};
  EXPECT_EQ(catalog_->SetClientKey(id, rotated, Rekey::kPin, At(4)).value().sealed_session_key,
            "fourth");
}

TEST_P(CatalogContract, RefusesAnotherPublicKeyWhenPinned) {
  const ClientId id = RegisterWithKey("name", 1).id;
  EXPECT_THAT(catalog_->SetClientKey(id, {"other", "new", 128, true}, Rekey::kPin, At(9)),
              HasReason(Reason::kRekeyRefused));
  const Client client = catalog_->FindClient(id).value();
  EXPECT_EQ(client.public_key, "key");
  EXPECT_EQ(client.sealed_session_key, "sealed");
  EXPECT_EQ(client.last_seen_time, At(1));
}

TEST_P(CatalogContract, TakesAnotherPublicKeyWhenAllowed) {
  const ClientId id = RegisterWithKey("name", 1).id;
  const Client client = catalog_->SetClientKey(id, {"other", "new"}, Rekey::kAllow, At(9)).value();
  EXPECT_EQ(client.public_key, "other");
  EXPECT_EQ(client.sealed_session_key, "new");
}

// Versions.

TEST_P(CatalogContract, AllocatesEverLargerVersionIdsFromManyThreads) {
  std::vector<std::vector<int64_t>> ids(8);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : ids) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) mine.push_back(catalog_->AllocateVersionId().value());
      });
    }
  }
  std::set<int64_t> distinct;
  for (const auto& mine : ids) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    distinct.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(distinct.size(), 8000u);
  EXPECT_GT(*distinct.begin(), 0);
  EXPECT_GT(catalog_->AllocateVersionId().value(), *distinct.rbegin());
}

TEST_P(CatalogContract, KeepsEveryFieldOfAVersion) {
  const ClientId id = Register("name", 1).id;
  Version version = MakeVersion(id, std::string("f\0\xFF", 3));
  version.size_bytes = int64_t{1} << 40;
  version.upload_id = IdOf<UploadId>(1);
  ASSERT_OK(catalog_->AddVersion(version, std::string("by\0tes", 6), {}));
  const StoredVersion stored =
      catalog_->FindVersion(id, version.file_name, version.version_id, true).value();
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
  const Version in_blob = Add(id, "large", IdOf<BlobId>(1));
  EXPECT_EQ(catalog_->FindVersion(id, "small", in_catalog.version_id, true).value().content,
            Content(std::string()));
  EXPECT_EQ(catalog_->FindVersion(id, "large", in_blob.version_id, true).value().content,
            Content(IdOf<BlobId>(1)));
  EXPECT_EQ(catalog_->FindVersion(id, "large", in_blob.version_id, false).value().content,
            Content());
}

TEST_P(CatalogContract, AddsAnUploadOnceHoweverOftenItIsSent) {
  const ClientId id = Register("name", 1).id;
  Version first = MakeVersion(id, "file");
  first.upload_id = IdOf<UploadId>(1);
  ASSERT_OK(catalog_->AddVersion(first, IdOf<BlobId>(1), {}));
  Version again = MakeVersion(id, "file");
  again.upload_id = first.upload_id;
  EXPECT_EQ(catalog_->AddVersion(again, IdOf<BlobId>(2), {}).value().version_id, first.version_id);
  EXPECT_FALSE(catalog_->HasBlob(IdOf<BlobId>(2)).value());
  EXPECT_EQ(catalog_->Count().value().versions, 1);
  EXPECT_EQ(catalog_->FindUpload(id, IdOf<UploadId>(1)).value().value().version_id,
            first.version_id);
}

TEST_P(CatalogContract, TellsTheSameUploadIdOfTwoClientsApart) {
  const ClientId id = Register("name", 1).id;
  const ClientId other = Register("other", 2).id;
  Version mine = MakeVersion(id, "file");
  mine.upload_id = IdOf<UploadId>(1);
  Version theirs = MakeVersion(other, "file");
  theirs.upload_id = mine.upload_id;
  ASSERT_OK(catalog_->AddVersion(mine, std::string("a"), {}));
  EXPECT_EQ(catalog_->FindUpload(other, *mine.upload_id).value(), std::nullopt);
  EXPECT_EQ(catalog_->AddVersion(theirs, std::string("b"), {}).value().version_id,
            theirs.version_id);
  EXPECT_EQ(catalog_->FindUpload(id, *mine.upload_id).value().value().version_id, mine.version_id);
  EXPECT_EQ(catalog_->FindUpload(id, IdOf<UploadId>(9)).value(), std::nullopt);
}

TEST_P(CatalogContract, CountsAVerifiedVersionAsTheNewest) {
  const ClientId id = Register("name", 1).id;
  Add(id, "file");
  EXPECT_THAT(catalog_->FindVersion(id, "file", 0, false), HasReason(Reason::kVersionNotFound));
  Settle(id, "file", Outcome::kVerified);
  const Version second = Add(id, "file");
  EXPECT_TRUE(Settle(id, "file", Outcome::kVerified).empty());
  Add(id, "file");
  const Version newest = catalog_->FindVersion(id, "file", 0, false).value().version;
  EXPECT_EQ(newest.version_id, second.version_id);
  EXPECT_EQ(newest.verify_time, At(3));
  const Client client = catalog_->FindClient(id).value();
  EXPECT_EQ(client.last_verified_time, At(3));
  EXPECT_EQ(client.last_seen_time, At(3));
}

TEST_P(CatalogContract, SettlesTheNewestReceivedVersionOnly) {
  const ClientId id = Register("name", 1).id;
  const Version first = Add(id, "file");
  const Version second = Add(id, "file");
  const Version other = Add(id, "other");
  Settle(id, "file", Outcome::kVerified);
  EXPECT_EQ(StateOf(first), VersionState::kReceived);
  EXPECT_EQ(StateOf(second), VersionState::kVerified);
  Settle(id, "file", Outcome::kVerified);
  EXPECT_EQ(StateOf(first), VersionState::kVerified);
  EXPECT_EQ(StateOf(other), VersionState::kReceived);
}

TEST_P(CatalogContract, DeletesAVersionThatIsRetriedAndTheFileWithItsLast) {
  const ClientId id = Register("name", 1).id;
  Add(id, "file", IdOf<BlobId>(1));
  EXPECT_THAT(Settle(id, "file", Outcome::kRetrying), ::testing::ElementsAre(IdOf<BlobId>(1)));
  EXPECT_FALSE(catalog_->HasBlob(IdOf<BlobId>(1)).value());
  EXPECT_TRUE(catalog_->ListFiles(id, "", 10).value().empty());
  Add(id, "file");
  EXPECT_TRUE(Settle(id, "file", Outcome::kRetrying).empty());
  EXPECT_EQ(catalog_->Count().value().versions, 0);
}

TEST_P(CatalogContract, KeepsTheRowOfAnAbandonedVersionWithoutItsContent) {
  const ClientId id = Register("name", 1).id;
  const Version in_blob = Add(id, "file", IdOf<BlobId>(1));
  EXPECT_THAT(Settle(id, "file", Outcome::kAbandoned), ::testing::ElementsAre(IdOf<BlobId>(1)));
  const Version in_catalog = Add(id, "file");
  EXPECT_TRUE(Settle(id, "file", Outcome::kAbandoned).empty());
  for (const Version& version : {in_blob, in_catalog}) {
    const StoredVersion stored =
        catalog_->FindVersion(id, "file", version.version_id, true).value();
    EXPECT_EQ(stored.version.state, VersionState::kAbandoned);
    EXPECT_EQ(stored.content, Content());
  }
  EXPECT_FALSE(catalog_->HasBlob(IdOf<BlobId>(1)).value());
  EXPECT_EQ(catalog_->Count().value().stored_bytes, 0);
  EXPECT_EQ(catalog_->Count().value().versions, 2);
}

TEST_P(CatalogContract, TakesOverWhatWasObservedOfAClientsProtocol) {
  const ClientId id = Register("name", 1).id;
  LegacyProfile observed;
  observed.family = "A/B";
  observed.header_version = 3;
  observed.framing = "stream";
  EXPECT_EQ(catalog_->UpdateLegacyProfile(id, observed).value().legacy, observed);
  LegacyProfile error;
  error.last_protocol_error = "no name";
  error.last_protocol_error_time = At(7);
  ASSERT_OK(catalog_->UpdateLegacyProfile(id, error));
  observed.last_protocol_error = "no name";
  observed.last_protocol_error_time = At(7);
  EXPECT_EQ(catalog_->FindClient(id).value().legacy, observed);
  LegacyProfile with_file;
  with_file.file_style = "counted";
  ASSERT_OK(catalog_->AddVersion(MakeVersion(id, "file"), std::string("bytes"), with_file));
  observed.file_style = "counted";
  EXPECT_EQ(catalog_->FindClient(id).value().legacy, observed);
  EXPECT_THAT(catalog_->UpdateLegacyProfile(nobody_, observed), HasReason(Reason::kClientNotFound));
}

TEST_P(CatalogContract, LearnsWhatAClientComparesOnlyWhereAsked) {
  const ClientId id = Register("name", 1).id;
  const auto settle = [&](Outcome outcome, Learning learning) {
    Add(id, "file");
    EXPECT_OK(catalog_->SettleVersion(id, "file", outcome, learning, At(3)));
    return catalog_->FindClient(id).value().legacy;
  };
  EXPECT_EQ(settle(Outcome::kRetrying, Learning::kOff), LegacyProfile());
  EXPECT_EQ(settle(Outcome::kVerified, Learning::kOff), LegacyProfile());
  EXPECT_EQ(settle(Outcome::kRetrying, Learning::kOn).checksum_refusals, 1);
  EXPECT_EQ(settle(Outcome::kVerified, Learning::kOn).checksum_kind,
            ChecksumKind::kCrc32OfCiphertext);
  // Nothing is left to settle, so there is nothing to learn either.
  ASSERT_OK(catalog_->SettleVersion(id, "file", Outcome::kAbandoned, Learning::kOn, At(3)));
  EXPECT_TRUE(catalog_->FindClient(id).value().legacy.checksum_kind.has_value());
}

TEST_P(CatalogContract, SaysWhetherAnOutcomeChangedAnything) {
  const ClientId id = Register("name", 1).id;
  for (const Outcome outcome : {Outcome::kRetrying, Outcome::kAbandoned, Outcome::kVerified}) {
    Add(id, "file");
    EXPECT_TRUE(SettleOnce(id, "file", outcome).changed);
    EXPECT_FALSE(SettleOnce(id, "file", outcome).changed);
  }
  EXPECT_FALSE(SettleOnce(id, "none", Outcome::kRetrying).changed);
}

TEST_P(CatalogContract, IsContentWithNothingLeftToSettle) {
  const ClientId id = Register("name", 1).id;
  EXPECT_THAT(catalog_->SettleVersion(id, "none", Outcome::kVerified, Learning::kOff, At(3)),
              HasReason(Reason::kFileNotFound));
  EXPECT_TRUE(Settle(id, "none", Outcome::kRetrying).empty());
  EXPECT_TRUE(Settle(id, "none", Outcome::kAbandoned).empty());
  const Version version = Add(id, "file");
  Settle(id, "file", Outcome::kVerified);
  for (const Outcome outcome : {Outcome::kVerified, Outcome::kRetrying, Outcome::kAbandoned}) {
    EXPECT_TRUE(Settle(id, "file", outcome).empty());
    EXPECT_EQ(StateOf(version), VersionState::kVerified);
  }
}

TEST_P(CatalogContract, SaysWhetherTheFileOrOnlyTheVersionIsNotThere) {
  const ClientId id = Register("name", 1).id;
  const Version version = Add(id, "file");
  const Version other = Add(id, "other");
  EXPECT_THAT(catalog_->FindVersion(id, "none", 0, true), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(catalog_->ListVersions(id, "none", 0, 10), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(catalog_->DeleteVersion(id, "none", version.version_id),
              HasReason(Reason::kFileNotFound));
  EXPECT_THAT(catalog_->FindVersion(id, "file", other.version_id, true),
              HasReason(Reason::kVersionNotFound));
  EXPECT_THAT(catalog_->DeleteVersion(id, "file", other.version_id),
              HasReason(Reason::kVersionNotFound));
}

TEST_P(CatalogContract, DeletesOneVersionAndTheFileWithItsLast) {
  const ClientId id = Register("name", 1).id;
  const Version first = Add(id, "file", IdOf<BlobId>(1));
  const Version second = Add(id, "file");
  EXPECT_THAT(catalog_->DeleteVersion(id, "file", first.version_id).value(),
              ::testing::ElementsAre(IdOf<BlobId>(1)));
  EXPECT_THAT(catalog_->FindVersion(id, "file", first.version_id, false),
              HasReason(Reason::kVersionNotFound));
  EXPECT_TRUE(catalog_->DeleteVersion(id, "file", second.version_id).value().empty());
  EXPECT_THAT(catalog_->ListVersions(id, "file", 0, 10), HasReason(Reason::kFileNotFound));
  EXPECT_EQ(catalog_->Count().value().files, 0);
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
    const std::vector<File> page = catalog_->ListFiles(id, after, 4).value();
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
  const std::vector<File> files = catalog_->ListFiles(id, "", 10).value();
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
    const std::vector<Version> page = catalog_->ListVersions(id, "file", before, 2).value();
    if (page.empty()) break;
    EXPECT_LE(page.size(), 2u);
    for (const Version& version : page) listed.push_back(version.version_id);
    before = page.back().version_id;
  }
  EXPECT_EQ(listed, added);
}

TEST_P(CatalogContract, ScansTheVersionsOfAllClientsWithTheirContent) {
  const ClientId id = Register("name", 1).id;
  const Version first = Add(id, "file", IdOf<BlobId>(1));
  const Version second = Add(Register("other", 2).id, "file", std::string("inline"));
  const Version third = Add(id, "gone");
  Settle(id, "gone", Outcome::kAbandoned);
  const std::vector<StoredVersion> page = catalog_->ScanVersions(0, 2).value();
  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0].version.version_id, first.version_id);
  EXPECT_EQ(page[0].content, Content(IdOf<BlobId>(1)));
  EXPECT_EQ(page[1].version.version_id, second.version_id);
  EXPECT_EQ(page[1].version.client_id, second.client_id);
  EXPECT_EQ(page[1].content, Content(std::string("inline")));
  const std::vector<StoredVersion> rest = catalog_->ScanVersions(second.version_id, 2).value();
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].version.version_id, third.version_id);
  EXPECT_EQ(rest[0].content, Content());
}

TEST_P(CatalogContract, CountsWhatItHolds) {
  EXPECT_EQ(catalog_->Count().value().clients, 0);
  EXPECT_EQ(catalog_->Count().value().last_verified_time, std::nullopt);
  const ClientId id = Register("name", 1).id;
  Register("other", 2);
  Add(id, "a");
  Settle(id, "a", Outcome::kVerified);
  Add(id, "a");
  Add(id, "b", IdOf<BlobId>(1));
  Settle(id, "b", Outcome::kAbandoned);
  const Counts counts = catalog_->Count().value();
  EXPECT_EQ(counts.clients, 2);
  EXPECT_EQ(counts.files, 2);
  EXPECT_EQ(counts.versions, 3);
  EXPECT_EQ(counts.verified_versions, 1);
  EXPECT_EQ(counts.abandoned_versions, 1);
  EXPECT_EQ(counts.stored_bytes, 20);
  EXPECT_EQ(counts.last_verified_time, At(3));
}

TEST_P(CatalogContract, KnowsWhatEachClientKeepsAndSentAgain) {
  const ClientId id = Register("name", 1).id;
  const ClientId other = Register("other", 2).id;
  const auto bytes = [&](const ClientId& of) { return catalog_->FindClient(of)->stored_bytes; };
  Add(other, "a");
  Add(id, "a");
  Add(id, "b", IdOf<BlobId>(1));
  EXPECT_EQ(bytes(id), 20);
  Settle(id, "a", Outcome::kRetrying);
  EXPECT_EQ(bytes(id), 10);
  Settle(id, "a", Outcome::kRetrying);  // Of nothing: it was settled.
  EXPECT_EQ(catalog_->FindClient(id)->resends, 1);
  Settle(id, "b", Outcome::kAbandoned);
  EXPECT_EQ(bytes(id), 0);
  const Version kept = Add(id, "c");
  Settle(id, "c", Outcome::kVerified);
  EXPECT_EQ(bytes(id), 10);
  ASSERT_OK(catalog_->DeleteVersion(id, "c", kept.version_id));
  EXPECT_EQ(bytes(id), 0);
  EXPECT_EQ(bytes(other), 10);
  EXPECT_EQ(catalog_->FindClient(other)->resends, 0);
  EXPECT_EQ(catalog_->Count()->abandoned_versions, 1);
  const int64_t abandoned = catalog_->ListVersions(id, "b", 0, 1)->front().version_id;
  ASSERT_OK(catalog_->DeleteVersion(id, "b", abandoned));
  EXPECT_EQ(catalog_->Count()->abandoned_versions, 0);
  EXPECT_EQ(bytes(id), 0);
}

// Threads.

TEST_P(CatalogContract, AddsVersionsFromManyThreadsWithoutLosingOne) {
  constexpr int kThreads = 16;
  constexpr int kVersions = 25;
  for (int t = 0; t < kThreads; ++t)
    Register(absl::StrCat("client ", t), static_cast<uint8_t>(t + 1));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const ClientId id = IdOf<ClientId>(static_cast<uint8_t>(t + 1));
        for (int i = 0; i < kVersions; ++i) {
          const Version version = Add(id, absl::StrCat("file ", i % 5));
          EXPECT_OK(catalog_->FindVersion(id, version.file_name, version.version_id, true));
          // An error in between must undo nothing but itself.
          EXPECT_THAT(catalog_->DeleteVersion(id, "none", 1), HasReason(Reason::kFileNotFound));
        }
      });
    }
  }
  const Counts counts = catalog_->Count().value();
  EXPECT_EQ(counts.versions, kThreads * kVersions);
  EXPECT_EQ(counts.files, kThreads * 5);
  EXPECT_EQ(catalog_->ScanVersions(0, 10'000).value().size(),
            static_cast<size_t>(kThreads * kVersions));
}

TEST_P(CatalogContract, AddsAnUploadOnceThoughManyThreadsSendIt) {
  const ClientId id = Register("name", 1).id;
  std::vector<int64_t> answers(16);
  {
    std::vector<std::jthread> threads;
    for (int64_t& answer : answers) {
      threads.emplace_back([&] {
        Version version = MakeVersion(id, "file");
        version.upload_id = IdOf<UploadId>(1);
        answer = catalog_->AddVersion(version, std::string("bytes"), {}).value().version_id;
      });
    }
  }
  EXPECT_EQ(std::set<int64_t>(answers.begin(), answers.end()).size(), 1u);
  EXPECT_EQ(catalog_->Count().value().versions, 1);
}

// Started work.

TEST_P(CatalogContract, StartedWorkSeesAndKeepsItsOwnChanges) {
  const ClientId id = IdOf<ClientId>(1);
  std::promise<absl::Status> done;
  catalog_->Start(
      [&] {
        Register("name", 1);
        EXPECT_EQ(catalog_->FindClient(id).value().name, "name");
        Add(id, "file");
        EXPECT_OK(catalog_->TouchClient(id, At(50)));
      },
      [&](const absl::Status& result) { done.set_value(result); });
  ASSERT_OK(done.get_future().get());
  Register("other", 2);
  EXPECT_EQ(catalog_->FindClient(id).value().last_seen_time, At(50));
  EXPECT_EQ(catalog_->Count().value().versions, 1);
}

TEST_P(CatalogContract, AnErrorInStartedWorkUndoesOnlyTheCallThatHadIt) {
  std::promise<absl::Status> done;
  catalog_->Start(
      [&] {
        RegisterWithKey("name", 1);
        EXPECT_THAT(
            catalog_->RegisterClient("name", IdOf<ClientId>(2), DuplicateNames::kReject, At(1)),
            HasReason(Reason::kNameTaken));
        Register("other", 3);
      },
      [&](const absl::Status& result) { done.set_value(result); });
  ASSERT_OK(done.get_future().get());
  EXPECT_EQ(catalog_->Count().value().clients, 2);
}

}  // namespace backup::storage
