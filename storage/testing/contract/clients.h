#pragma once

#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

using testing::HasReason;

TEST_P(CatalogContract, RegistersAClientAndFindsItByIdAndName) {
  const std::string name("na\0me\xFF", 6);
  const Client client = Register(name, 1);
  EXPECT_EQ(client.id, IdOf<ClientId>(1));
  EXPECT_EQ(client.create_time, At(0));
  EXPECT_EQ(client.last_seen_time, At(0));
  EXPECT_EQ(client.public_key, "");
  EXPECT_EQ(client.sealed_session_key, "");
  EXPECT_EQ(client.last_verified_time, std::nullopt);
  EXPECT_EQ(FindClient(client.id).value().name, name);
  EXPECT_EQ(FindClientByName(name).value().id, client.id);
}

TEST_P(CatalogContract, SaysThatAClientIsNotThere) {
  EXPECT_THAT(FindClient(nobody_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(FindClientByName("nobody"), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(RemoveClient(nobody_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(SetClientKey(nobody_, {"key", "sealed"}, Rekey::kAllow, At(1)),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(TouchClient(nobody_, At(1)), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(AddVersion(MakeVersion(nobody_, "file"), std::string()),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ListFiles(nobody_, "", 10), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ListVersions(nobody_, "file", 0, 10), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(FindVersion(nobody_, "file", 0), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(RemoveVersion(nobody_, "file", 1), HasReason(Reason::kClientNotFound));
  for (const Outcome outcome : {Outcome::kVerified, Outcome::kRetrying, Outcome::kAbandoned}) {
    EXPECT_THAT(SettleVersion({nobody_, "file", std::nullopt, outcome}),
                HasReason(Reason::kClientNotFound));
    EXPECT_THAT(SettleVersion({nobody_, "file", IdOf<UploadId>(1), outcome}),
                HasReason(Reason::kClientNotFound));
  }
  EXPECT_EQ(Count().files, 0);
}

TEST_P(CatalogContract, GivesARegistrationWithoutAKeyToWhoeverAsksAgain) {
  for (const DuplicateNames policy : {DuplicateNames::kReject, DuplicateNames::kAllow}) {
    Register("name", 1);
    const auto again = RegisterClient("name", 2, policy, At(5));
    ASSERT_OK(again);
    EXPECT_EQ(again->id, IdOf<ClientId>(1));
    EXPECT_EQ(again->last_seen_time, At(5));
  }
  EXPECT_EQ(Count().clients, 1);
}

TEST_P(CatalogContract, RejectsANameWhoseClientHasAKey) {
  RegisterWithKey("name", 1);
  EXPECT_THAT(RegisterClient("name", 2, DuplicateNames::kReject, At(5)),
              HasReason(Reason::kNameTaken));
  EXPECT_THAT(FindClient(IdOf<ClientId>(2)), HasReason(Reason::kClientNotFound));
}

TEST_P(CatalogContract, AllowsANameTwiceIfAskedToAndFindsTheLastRegistered) {
  // The ids go down and the clock goes back, so that neither can stand in for the order.
  RegisterWithKey("name", 3);
  for (const uint8_t id : {2, 1}) {
    ASSERT_OK(RegisterClient("name", id, DuplicateNames::kAllow, At(-id)));
    EXPECT_EQ(FindClientByName("name").value().id, IdOf<ClientId>(id));
    ASSERT_OK(SetClientKey(IdOf<ClientId>(id), {"key", "sealed"}, Rekey::kPin, At(1)));
  }
  EXPECT_EQ(Count().clients, 3);
}

TEST_P(CatalogContract, AddsAClientOfAnotherServerAsItIs) {
  Client client;
  client.id = IdOf<ClientId>(9);
  client.name = "name";
  client.create_time = At(-100);
  client.last_seen_time = At(-50);
  client.public_key = "key";
  client.sealed_session_key = "sealed";
  client.session_key_bits = 256;
  client.legacy.family = "D";
  ASSERT_OK(Run([&](Transaction& transaction) { return transaction.AddClient(client); }));
  const Client found = FindClient(client.id).value();
  EXPECT_EQ(found.name, "name");
  EXPECT_EQ(found.create_time, At(-100));
  EXPECT_EQ(found.last_seen_time, At(-50));
  EXPECT_EQ(found.public_key, "key");
  EXPECT_EQ(found.sealed_session_key, "sealed");
  EXPECT_EQ(found.session_key_bits, 256);
  EXPECT_EQ(found.legacy.family, "D");
  EXPECT_EQ(Count().clients, 1);
}

TEST_P(CatalogContract, TheClientAddedLastIsTheOneOfItsName) {
  RegisterWithKey("name", 3);
  Client client;
  client.id = IdOf<ClientId>(2);
  client.name = "name";
  client.create_time = client.last_seen_time = At(-100);
  ASSERT_OK(Run([&](Transaction& transaction) { return transaction.AddClient(client); }));
  EXPECT_EQ(FindClientByName("name").value().id, client.id);
}

TEST_P(CatalogContract, FreesANameWhenItsClientIsDeleted) {
  RegisterWithKey("name", 1);
  ASSERT_OK(RemoveClient(IdOf<ClientId>(1)));
  EXPECT_EQ(Register("name", 2).id, IdOf<ClientId>(2));
}

TEST_P(CatalogContract, ListsClientsPageByPageInOrder) {
  for (const uint8_t id : {5, 200, 3, 130, 4}) Register(absl::StrCat("client ", id), id);
  const auto list = [&](const ClientId& after, int limit) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListClients(after, limit); }).value();
  };
  std::vector<ClientId> listed;
  ClientId after;
  while (true) {
    const std::vector<Client> page = list(after, 2);
    if (page.empty()) break;
    EXPECT_LE(page.size(), 2u);
    for (const Client& client : page) listed.push_back(client.id);
    after = page.back().id;
  }
  EXPECT_THAT(listed,
              ::testing::ElementsAre(IdOf<ClientId>(3), IdOf<ClientId>(4), IdOf<ClientId>(5),
                                     IdOf<ClientId>(130), IdOf<ClientId>(200)));
  EXPECT_TRUE(list(ClientId(), 0).empty());
}

TEST_P(CatalogContract, DeletesAClientWithAllItHas) {
  const ClientId id = Register("name", 1).id;
  const ClientId other = Register("other", 2).id;
  Add(id, "a", Blob(IdOf<BlobId>(1)));
  Settle(id, "a", Outcome::kVerified);
  Add(id, "a", Blob(IdOf<BlobId>(2)));
  Add(id, "b", Blob(IdOf<BlobId>(3)));
  Settle(id, "b", Outcome::kAbandoned);
  Add(id, "c");
  Add(other, "a", Blob(IdOf<BlobId>(4)));
  ASSERT_OK(RemoveClient(id));
  EXPECT_THAT(FindClient(id), HasReason(Reason::kClientNotFound));
  const Counts counts = Count();
  EXPECT_EQ(counts.clients, 1);
  EXPECT_EQ(counts.files, 1);
  EXPECT_EQ(counts.versions, 1);
  EXPECT_EQ(counts.verified_versions, 0);
  EXPECT_EQ(counts.abandoned_versions, 0);
  EXPECT_EQ(counts.stored_bytes, 10);
  EXPECT_EQ(counts.blob_bytes, kBlobSize);
  EXPECT_EQ(UseOf(IdOf<BlobId>(4)), BlobUse::kReferenced);
}

TEST_P(CatalogContract, NotesThatAClientWasSeen) {
  const ClientId id = Register("name", 1).id;
  ASSERT_OK(TouchClient(id, At(50)));
  Register("other", 2);  // Whatever was only remembered is written with the next change.
  EXPECT_EQ(FindClient(id).value().last_seen_time, At(50));
  Add(id, "file");
  EXPECT_EQ(FindClient(id).value().last_seen_time, At(50));
  ASSERT_OK(TouchClient(id, At(40)));
  Add(id, "file");
  EXPECT_EQ(FindClient(id).value().last_seen_time, At(50));
}

TEST_P(CatalogContract, KeepsANoteThatAClientWasSeenWhenTheNextChangeFails) {
  const ClientId id = Register("name", 1).id;
  ASSERT_OK(TouchClient(id, At(50)));
  EXPECT_THAT(RemoveClient(nobody_), HasReason(Reason::kClientNotFound));
  Register("other", 2);
  EXPECT_EQ(FindClient(id).value().last_seen_time, At(50));
}

// Keys.

TEST_P(CatalogContract, ResealsASessionKeyThatIsStillTheSame) {
  const ClientId id = RegisterWithKey("name", 1).id;
  const Client before = FindClient(id).value();
  const auto reseal = [&](const ClientId& client, const std::string& old,
                          const std::string& sealed) {
    return Run([&](Transaction& transaction) {
      return transaction.ResealSessionKey(client, old, sealed);
    });
  };
  EXPECT_THAT(reseal(id, "another", "anew"), IsOkAndHolds(false));
  EXPECT_THAT(reseal(nobody_, "sealed", "anew"), IsOkAndHolds(false));
  EXPECT_EQ(FindClient(id)->sealed_session_key, "sealed");
  EXPECT_THAT(reseal(id, "sealed", "anew"), IsOkAndHolds(true));
  const Client after = FindClient(id).value();
  EXPECT_EQ(after.sealed_session_key, "anew");
  EXPECT_EQ(after.public_key, before.public_key);
  EXPECT_EQ(after.last_seen_time, before.last_seen_time) << "nobody has seen it";
  // In the trash, too.
  ASSERT_OK(Run([&](Transaction& transaction) { return transaction.DeleteClient(id, At(9)); }));
  EXPECT_THAT(reseal(id, "anew", "again"), IsOkAndHolds(true));
  EXPECT_EQ(Read([&](Snapshot& snapshot) { return snapshot.FindTrashedClient(id); })
                .value()
                .sealed_session_key,
            "again");
}

TEST_P(CatalogContract, StoresAKey) {
  const ClientId id = Register("name", 1).id;
  const auto client = SetClientKey(id, {"key", "sealed", 256}, Rekey::kPin, At(7));
  ASSERT_OK(client);
  EXPECT_EQ(client->public_key, "key");
  EXPECT_EQ(client->sealed_session_key, "sealed");
  EXPECT_EQ(client->session_key_bits, 256);
  EXPECT_EQ(client->last_seen_time, At(7));
  EXPECT_EQ(FindClient(id).value().sealed_session_key, "sealed");
}

TEST_P(CatalogContract, KeepsTheSessionKeyOfTheSamePublicKeyUnlessAskedToRotateOrResize) {
  const ClientId id = RegisterWithKey("name", 1).id;
  const auto session_key = [&](const KeyGrant& grant, absl::Time now) {
    return SetClientKey(id, grant, Rekey::kPin, now).value().sealed_session_key;
  };
  EXPECT_EQ(session_key({"key", "second"}, At(2)), "sealed");
  EXPECT_EQ(session_key({"key", "third", 256}, At(3)), "third");
  EXPECT_EQ(session_key({"key", "fourth", 256, true}, At(4)), "fourth");
}

TEST_P(CatalogContract, RefusesAnotherPublicKeyWhenPinned) {
  const ClientId id = RegisterWithKey("name", 1).id;
  EXPECT_THAT(SetClientKey(id, {"other", "new", 128, true}, Rekey::kPin, At(9)),
              HasReason(Reason::kRekeyRefused));
  const Client client = FindClient(id).value();
  EXPECT_EQ(client.public_key, "key");
  EXPECT_EQ(client.sealed_session_key, "sealed");
  EXPECT_EQ(client.last_seen_time, At(1));
}

TEST_P(CatalogContract, TakesAnotherPublicKeyWhenAllowed) {
  const ClientId id = RegisterWithKey("name", 1).id;
  const Client client = SetClientKey(id, {"other", "new"}, Rekey::kAllow, At(9)).value();
  EXPECT_EQ(client.public_key, "other");
  EXPECT_EQ(client.sealed_session_key, "new");
}

// Protocol.

TEST_P(CatalogContract, TakesOverWhatWasObservedOfAClientsProtocol) {
  const auto update = [&](const ClientId& id, const LegacyProfile& observed) {
    return Run(
        [&](Transaction& transaction) { return transaction.UpdateLegacyProfile(id, observed); });
  };
  const ClientId id = Register("name", 1).id;
  LegacyProfile observed;
  observed.family = "A/B";
  observed.header_version = 3;
  observed.framing = "stream";
  EXPECT_EQ(update(id, observed).value().legacy, observed);
  LegacyProfile error;
  error.last_protocol_error = "no name";
  error.last_protocol_error_time = At(7);
  ASSERT_OK(update(id, error));
  observed.last_protocol_error = "no name";
  observed.last_protocol_error_time = At(7);
  EXPECT_EQ(FindClient(id).value().legacy, observed);
  LegacyProfile with_file;
  with_file.file_style = "counted";
  ASSERT_OK(AddVersion(MakeVersion(id, "file"), std::string("bytes"), with_file));
  observed.file_style = "counted";
  EXPECT_EQ(FindClient(id).value().legacy, observed);
  EXPECT_THAT(update(nobody_, observed), HasReason(Reason::kClientNotFound));
}

}  // namespace backup::storage
