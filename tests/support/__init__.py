"""What tests share: wheels made on the spot and package indexes served on loopback."""
