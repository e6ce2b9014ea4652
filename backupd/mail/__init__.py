"""Mail in: mailbox, cursor, message, proof, link."""
